/**
 * Persistence: templates pin a client's network to a destination. Keys and life are those of Linux IPVS (ip_vs_sched_persist
 * as described by the project's reference, section 4.5): a template's time counts from its last new connection.
 */
import type { Flow } from "../wire/flow.ts";
import type { Packet } from "../wire/packet.ts";
import { type Bindings, TEMPLATE_STATE } from "./bindings.ts";
import type { CallTable } from "./call-table.ts";
import type { ConnectionTable } from "./connection-table.ts";
import type { Destination } from "./destination.ts";
import { FTP_PORT } from "./ftp-ports.ts";
import type { ServiceBook } from "./service-book.ts";
import { type CallId, findCallId } from "./sip-call-id.ts";
import type { VirtualService } from "./virtual-service.ts";

export class Templates {
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #bindings: Bindings;
  readonly #calls: CallTable;
  // The key of the packet at hand, set by `prepare`.
  readonly #network = new Int32Array(4);
  readonly #mark = new Int32Array(4);
  readonly #callId: CallId = { at: 0, length: 0 };
  #protocol = 0;
  #virtual = this.#mark;
  #virtualAt = 0;
  #virtualPort = 0;
  #hasCallId = false;

  constructor(table: ConnectionTable, services: ServiceBook, bindings: Bindings, calls: CallTable) {
    this.#table = table;
    this.#services = services;
    this.#bindings = bindings;
    this.#calls = calls;
  }

  /** Make the key for this packet. @returns false when it has none: a service with an engine, a packet without its mark. */
  prepare(packet: Packet, flow: Flow, service: VirtualService): boolean {
    for (let i = 0; i < 4; i++) this.#network[i] = flow.words[i]! & service.clientMask[i]!;
    if (service.mark !== 0) {
      this.#mark[0] = service.mark | 0;
      this.#protocol = 0;
      this.#virtual = this.#mark;
      this.#virtualAt = 0;
      this.#virtualPort = 0;
    } else {
      this.#protocol = flow.protocol;
      this.#virtual = flow.words;
      this.#virtualAt = 4;
      const isOfPort = service.hasPort(flow.destinationPort) && service.port !== FTP_PORT;
      this.#virtualPort = isOfPort ? service.port : 0;
    }
    this.#hasCallId = service.hasEngine;
    return !service.hasEngine || findCallId(packet, flow, this.#callId);
  }

  /**
   * The template of the prepared key that may be used, or -1. One that may not is hidden and left to run out.
   * @param mayBeQuiescent - a template pins although its destination has weight 0
   * @param wanted - number of the only destination it may pin to; -1: any
   */
  find(packet: Packet, flow: Flow, nowTick: number, mayBeQuiescent: boolean, wanted: number): number {
    const table = this.#table;
    const { family } = flow;
    const { at, length } = this.#callId;
    // biome-ignore format: the whole key
    const template = this.#hasCallId
      ? this.#calls.find(
          packet.bytes, at, length, table, family, this.#protocol, this.#network,
          this.#virtual, this.#virtualAt, this.#virtualPort,
        )
      : table.findTemplate(
          family, this.#protocol, this.#network, this.#virtual, this.#virtualAt, this.#virtualPort,
        );
    if (template < 0) return -1;
    if (table.isExpired(template, nowTick) && this.#bindings.expire(template, nowTick)) return -1;
    const destination = this.#services.destination(table.server(template));
    const isWanted = wanted < 0 || destination.number === wanted;
    if (destination.isAvailable && isWanted && (mayBeQuiescent || destination.weight > 0)) return template;
    this.#calls.remove(template);
    table.hideTemplate(template);
    return -1;
  }

  /** Pin the prepared key to a destination. @returns the record, or -1 when there is no room */
  create(packet: Packet, flow: Flow, service: VirtualService, destination: Destination): number {
    const table = this.#table;
    const isOfPort = this.#virtualPort !== 0;
    const record = table.insertTemplate(
      flow.family,
      this.#protocol,
      this.#network,
      this.#virtual,
      this.#virtualAt,
      this.#virtualPort,
      destination.words,
      isOfPort ? destination.port : 0,
      destination.number,
      this.#hasCallId,
    );
    if (record < 0) return -1;
    destination.persistentConnections++;
    table.setState(record, TEMPLATE_STATE.none);
    table.setTimeout(record, service.templateTicks);
    if (this.#hasCallId && !this.#calls.insert(record, packet.bytes, this.#callId.at, this.#callId.length)) {
      this.#bindings.remove(record);
      return -1;
    }
    return record;
  }
}

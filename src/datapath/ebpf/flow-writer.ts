/**
 * Puts a connection's two flows into the map, and takes them out: what the director would write into its packets, with
 * the changes of checksums computed once. Nothing is allocated.
 */
import type { ConnectionTable } from "../../nat/connection-table.ts";
import { difference32, fold } from "../../wire/checksum.ts";
import { Protocol } from "../../wire/flow.ts";
import { addressOf } from "../system-call.ts";
import type { BpfMap } from "./kernel/bpf.ts";
import { Flow, FlowKey, flowClass, Mode, REUSABLE } from "./maps/layout.ts";

const KEY_AT = 0;
const VALUE_AT = 64;

export class FlowWriter {
  readonly #table: ConnectionTable;
  readonly #map: BpfMap;
  readonly #bytes = new Uint8Array(VALUE_AT + Flow.bytes);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(table: ConnectionTable, map: BpfMap) {
    this.#table = table;
    this.#map = map;
    const at = addressOf(this.#bytes);
    map.aim(at + KEY_AT, at + VALUE_AT);
  }

  /**
   * Both directions.
   * @param toServer, toClient - numbers of their ways
   * @returns negative errno when one is not in the map now; then neither is
   */
  put(record: number, epoch: number, toServer: number, toClient: number): number {
    this.#writeToServer(record);
    this.#writeRest(record, epoch, toServer, 0);
    let result = this.#map.update();
    if (result < 0) return result;
    this.#writeToClient(record);
    this.#writeRest(record, epoch, toClient, 1);
    result = this.#map.update();
    if (result < 0) {
      this.#writeToServer(record);
      this.#map.delete();
    }
    return result;
  }

  takeOut(record: number): void {
    this.#writeToServer(record);
    this.#map.delete(); // not there: as wanted
    this.#writeToClient(record);
    this.#map.delete();
  }

  /** The tuple of a packet from the client, and what the server is to see. */
  #writeToServer(record: number): void {
    const table = this.#table;
    const { words } = table;
    const [client, virtual] = [table.clientAt(record), table.virtualAt(record)];
    this.#tuple(KEY_AT, FlowKey.at, words, client, words, virtual);
    this.#ports(KEY_AT, FlowKey.at, table.clientPort(record), table.virtualPort(record));
    this.#kind(record);
    const source = table.source(record);
    const sources = source === 0 ? words : table.sourceWords;
    const sourceAt = source === 0 ? client : source * 4;
    this.#tuple(VALUE_AT, Flow.at, sources, sourceAt, words, table.destinationAt(record));
    this.#ports(VALUE_AT, Flow.at, table.sourcePort(record), table.destinationPort(record));
  }

  /** The tuple of a packet from the server, and what the client is to see. */
  #writeToClient(record: number): void {
    const table = this.#table;
    const { words } = table;
    const [client, virtual] = [table.clientAt(record), table.virtualAt(record)];
    const source = table.source(record);
    const sources = source === 0 ? words : table.sourceWords;
    const sourceAt = source === 0 ? client : source * 4;
    this.#tuple(KEY_AT, FlowKey.at, words, table.destinationAt(record), sources, sourceAt);
    this.#ports(KEY_AT, FlowKey.at, table.destinationPort(record), table.sourcePort(record));
    this.#kind(record);
    this.#tuple(VALUE_AT, Flow.at, words, virtual, words, client);
    this.#ports(VALUE_AT, Flow.at, table.virtualPort(record), table.clientPort(record));
  }

  #tuple(
    base: number,
    places: { readonly source: number; readonly destination: number },
    source: Int32Array,
    sourceAt: number,
    destination: Int32Array,
    destinationAt: number,
  ): void {
    for (let i = 0; i < 4; i++) {
      this.#view.setInt32(base + places.source + i * 4, source[sourceAt + i]!);
      this.#view.setInt32(base + places.destination + i * 4, destination[destinationAt + i]!);
    }
  }

  #ports(
    base: number,
    places: { readonly sourcePort: number; readonly destinationPort: number },
    source: number,
    destination: number,
  ): void {
    this.#view.setUint16(base + places.sourcePort, source);
    this.#view.setUint16(base + places.destinationPort, destination);
  }

  #kind(record: number): void {
    this.#view.setUint8(KEY_AT + FlowKey.at.protocol, this.#table.protocol(record));
    this.#view.setUint8(KEY_AT + FlowKey.at.family, this.#table.family(record));
  }

  #writeRest(record: number, epoch: number, way: number, direction: 0 | 1): void {
    const table = this.#table;
    const view = this.#view;
    view.setUint32(VALUE_AT + Flow.at.record, record, true);
    view.setInt32(VALUE_AT + Flow.at.generation, table.generation(record), true);
    view.setUint32(VALUE_AT + Flow.at.server, table.server(record), true);
    view.setUint32(VALUE_AT + Flow.at.epoch, epoch, true);
    view.setUint32(VALUE_AT + Flow.at.way, way, true);
    // Sums are the same in either byte order, but for their own.
    view.setUint16(VALUE_AT + Flow.at.addressDelta, this.#delta(FlowKey.at.source, Flow.at.source, 8));
    view.setUint16(VALUE_AT + Flow.at.portDelta, this.#delta(FlowKey.at.sourcePort, Flow.at.sourcePort, 1));
    const isUdp = table.protocol(record) === Protocol.udp;
    view.setUint8(VALUE_AT + Flow.at.direction, direction);
    view.setUint8(VALUE_AT + Flow.at.mode, isUdp ? Mode.udp : Mode.tcp);
    const bit = flowClass(table.family(record) as 4 | 6, isUdp, direction);
    const isReusable = direction === 0 && table.controller(record) < 0 && table.controlledCount(record) === 0;
    view.setUint16(VALUE_AT + Flow.at.flowClass, bit | (isReusable ? REUSABLE : 0), true);
  }

  /** What changes from key to value, as a sum. @param wordCount - 32-bit words from there on */
  #delta(keyAt: number, valueAt: number, wordCount: number): number {
    let delta = 0;
    for (let at = 0; at < wordCount * 4; at += 4) {
      const before = this.#view.getInt32(KEY_AT + keyAt + at);
      const after = this.#view.getInt32(VALUE_AT + valueAt + at);
      if (before !== after) delta += difference32(before, after);
    }
    return fold(delta);
  }
}

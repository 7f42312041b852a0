/**
 * The engine of the application modules: which connection has which, and its packets through its streams, or as datagrams.
 * Dialogues are made when they are first needed and used again; a connection finds its own by a word of its entry.
 */

import type { AssociationPaths } from "../../nat/association-paths.ts";
import type { ApplicationName, ApplicationOptions } from "../../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable } from "../../nat/connection-table.ts";
import type {
  ApplicationHost,
  ApplicationPort,
  Applications,
  ApplicationsFactory,
  ApplicationUsage,
} from "../../nat/contracts/application.ts";
import type { DialogueMark, DialogueMarks } from "../../nat/dialogue-marks.ts";
import type { Expectations } from "../../nat/expectations.ts";
import { SCTP_CLOSED } from "../../nat/protocol/sctp.ts";
import { TCP_STATE } from "../../nat/protocol/tcp.ts";
import { hashOfText } from "../../nat/text-hash.ts";
import type { TunnelCalls } from "../../nat/tunnel-calls.ts";
import { type Flow, Protocol } from "../../wire/flow.ts";
import type { Packet } from "../../wire/packet.ts";
import { passDatagram } from "./datagram.ts";
import { type Count, ModuleDialogue, type Working } from "./dialogue.ts";
import type { ApplicationModule, Side, Transport } from "./module.ts";
import { passSctp } from "./sctp-packet.ts";
import { passSegment } from "./segment.ts";
import { Unit } from "./unit.ts";

/** Connections that may have a module at a time. */
export const DIALOGUES_MAX = 65_536;
/** Memory that their TCP streams may take: 128 MiB, about 20,000 connections of line protocols. */
export const STREAM_BYTES_MAX = 2 ** 27;

const TRANSPORT_PROTOCOLS: Readonly<Record<Transport, number>> = {
  tcp: Protocol.tcp,
  udp: Protocol.udp,
  sctp: Protocol.sctp,
};

export class Engine implements Applications {
  onRewrite: ((before: string, after: string) => void) | undefined;
  readonly connections: ConnectionTable;
  readonly expectations: Expectations;
  readonly tunnelCalls: TunnelCalls;
  readonly paths: AssociationPaths;
  readonly unit = new Unit();
  /** The modules; by a number less one. One whose name was taken away has no name, and its connections go on. */
  readonly #working: Working[] = [];
  readonly #dialogues: ModuleDialogue[] = [];
  /** Numbers of dialogues that are none any more. */
  readonly #spare: number[] = [];
  #streamBytes = 0;
  readonly #marks: DialogueMarks | undefined;

  constructor(host: ApplicationHost, modules: readonly ApplicationModule[]) {
    this.connections = host.connections;
    this.expectations = host.expectations;
    this.tunnelCalls = host.tunnelCalls;
    this.paths = host.paths;
    this.#marks = host.marks;
    for (const module of modules) this.define(module);
  }

  /** Add a module, or put it in the place of the one of that name for connections from now on. */
  define(module: ApplicationModule): void {
    const index = this.#indexOf(module.name);
    const counters = index < 0 ? { ...NOTHING } : this.#working[index]!.counters;
    const working = { module, counters, free: [] };
    if (index < 0) this.#working.push(working);
    else this.#replace(index, working);
  }

  /** Connections that have it keep it; new ones get none. */
  undefine(name: ApplicationName): void {
    const index = this.#indexOf(name);
    if (index < 0) return;
    // Announcements have its number, which stays nobody else's.
    const { counters } = this.#working[index]!;
    this.#replace(index, { module: NOTHING_READ, counters, free: [] });
  }

  #replace(index: number, working: Working): void {
    for (const idle of this.#working[index]!.free) this.#scrap(idle);
    this.#working[index] = working;
  }

  begin(record: number, name: ApplicationName, options: ApplicationOptions | undefined): void {
    const index = this.#indexOf(name);
    if (index >= 0) this.#begin(record, this.#working[index]!, options);
  }

  #begin(record: number, working: Working, options: ApplicationOptions | undefined): void {
    const { module, counters } = working;
    const protocol = this.connections.protocol(record);
    if (!isOf(module, protocol)) return;
    const dialogue = working.free.pop() ?? this.#make(working);
    if (dialogue === undefined) {
      counters.unattended++;
      return;
    }
    dialogue.begin(record, options, protocol);
    this.#attach(record, dialogue);
    if (module.begin === undefined) return;
    try {
      module.begin(dialogue);
    } catch {
      counters.failed++;
      dialogue.passUnread();
    }
  }

  /** The connection has this dialogue from now on. */
  #attach(record: number, dialogue: ModuleDialogue): void {
    const { connections: table } = this;
    table.setSequence(record, dialogue.number);
    table.setFlag(record, ConnectionFlag.application, true);
    const module = hashOfText(dialogue.working.module.name);
    this.#marks?.begin(dialogue.number, record, table.generation(record), module);
  }

  resume(record: number, mark: DialogueMark, options: ApplicationOptions | undefined): boolean {
    const protocol = this.connections.protocol(record);
    const working = this.#working.find(({ module: { name } }) => hashOfText(name) === mark.module);
    if (working === undefined || !isOf(working.module, protocol)) return false;
    const dialogue = working.free.pop() ?? this.#make(working);
    if (dialogue === undefined) return false;
    dialogue.begin(record, options, protocol);
    dialogue.resume(mark);
    this.#attach(record, dialogue);
    if (this.#marks !== undefined) dialogue.note(this.#marks);
    return true;
  }

  /** Another dialogue, or undefined where there are too many. */
  #make(working: Working): ModuleDialogue | undefined {
    const bytes = ModuleDialogue.streamBytes(working.module);
    while (this.#isFull(bytes)) if (!this.#scrapIdle()) return undefined;
    this.#streamBytes += bytes;
    const number = this.#spare.pop() ?? this.#dialogues.length;
    const dialogue = new ModuleDialogue(this, working, number);
    this.#dialogues[number] = dialogue;
    return dialogue;
  }

  #isFull(bytes: number): boolean {
    if (this.#streamBytes + bytes > STREAM_BYTES_MAX) return true;
    return this.#spare.length === 0 && this.#dialogues.length === DIALOGUES_MAX;
  }

  /** One that another module has no use for makes way. */
  #scrapIdle(): boolean {
    for (let k = 0; k < this.#working.length; k++) {
      const idle = this.#working[k]!.free.pop();
      if (idle === undefined) continue;
      this.#scrap(idle);
      return true;
    }
    return false;
  }

  #scrap(dialogue: ModuleDialogue): void {
    this.#streamBytes -= ModuleDialogue.streamBytes(dialogue.working.module);
    this.#spare.push(dialogue.number);
  }

  toServer(packet: Packet, flow: Flow, record: number): boolean {
    return this.#passAndNote(packet, flow, this.dialogueOf(record), "client");
  }

  toClient(packet: Packet, flow: Flow, record: number): boolean {
    return this.#passAndNote(packet, flow, this.dialogueOf(record), "server");
  }

  #passAndNote(packet: Packet, flow: Flow, dialogue: ModuleDialogue, from: Side): boolean {
    const isPassed = this.#pass(packet, flow, dialogue, from);
    if (this.#marks !== undefined) dialogue.note(this.#marks);
    return isPassed;
  }

  end(record: number): void {
    const dialogue = this.dialogueOf(record);
    const { module, counters } = dialogue.working;
    try {
      module.end?.(dialogue);
    } catch {
      counters.failed++;
    }
    dialogue.record = -1;
    this.#marks?.end(dialogue.number);
    if (this.#working.includes(dialogue.working)) dialogue.working.free.push(dialogue);
    else this.#scrap(dialogue);
  }

  expiring(record: number): void {
    const dialogue = this.dialogueOf(record);
    dialogue.withdrawBound();
    if (this.connections.protocol(record) === Protocol.tcp) {
      if (this.connections.state(record) !== TCP_STATE.established) dialogue.endCalls();
    } else if (this.connections.state(record) === SCTP_CLOSED) dialogue.withdrawPaths();
  }

  announcedBegan(record: number, control: number, application: number): void {
    if (!this.connections.hasFlag(control, ConnectionFlag.application)) return;
    const dialogue = this.dialogueOf(control);
    dialogue.working.counters.begun++;
    const working = this.#working[application - 1];
    if (working !== undefined) this.#begin(record, working, dialogue.options);
  }

  ofPort(names: readonly ApplicationName[], protocol: number, port: number): ApplicationName | undefined {
    for (let index = 0; index < names.length; index++) {
      const working = this.#working[this.#indexOf(names[index]!)];
      if (working === undefined || !isOf(working.module, protocol)) continue;
      const { ports } = working.module;
      if (ports === "all" || ports.includes(port)) return names[index];
    }
    return undefined;
  }

  numberOf(name: ApplicationName): number {
    return this.#indexOf(name) + 1;
  }

  usage(): ApplicationUsage[] {
    const live = this.#dialogues.filter(({ record }) => record >= 0);
    return this.#working
      .filter(({ module }) => module.name !== "")
      .map(({ module: { name }, counters }) => {
        const ports = new Map<string, ApplicationPort>();
        for (const { working, record, transport } of live) {
          if (working.module.name !== name) continue;
          const port = this.connections.virtualPort(record);
          const key = `${transport} ${port}`;
          const connections = (ports.get(key)?.connections ?? 0) + 1;
          ports.set(key, { protocol: transport, port, connections });
        }
        return { name, ports: [...ports.values()], counters: { ...counters } };
      });
  }

  #pass(packet: Packet, flow: Flow, dialogue: ModuleDialogue, from: Side): boolean {
    const { counters } = dialogue.working;
    switch (flow.protocol) {
      case Protocol.tcp: {
        const { toServer, toClient } = dialogue;
        if (toServer === undefined || toClient === undefined) return true;
        const isOpening = this.connections.state(dialogue.record) !== TCP_STATE.established;
        if (isOpening) dialogue.endCalls();
        const own = from === "client" ? toServer : toClient;
        const passage = passSegment(packet, flow, own, from === "client" ? toClient : toServer, isOpening);
        if (passage === "passed") return true;
        if (passage !== "malformed") counters[passage]++;
        return false;
      }
      case Protocol.udp: {
        const passage = passDatagram(packet, flow, dialogue, from);
        if (passage === "badChecksum") counters.badChecksum++;
        return passage === "passed";
      }
      case Protocol.sctp: {
        const passage = passSctp(packet, flow, dialogue, this.unit, from);
        if (passage === "badChecksum") counters.badChecksum++;
        return passage === "passed";
      }
      default:
        return true;
    }
  }

  beginPath(record: number, { working, options }: ModuleDialogue): ModuleDialogue | undefined {
    const { connections } = this;
    if (!connections.hasFlag(record, ConnectionFlag.application)) this.#begin(record, working, options);
    return connections.hasFlag(record, ConnectionFlag.application) ? this.dialogueOf(record) : undefined;
  }

  /** Of a connection that has a module. */
  dialogueOf(record: number): ModuleDialogue {
    return this.#dialogues[this.connections.sequence(record)]!;
  }

  #indexOf(name: ApplicationName): number {
    for (let k = 0; k < this.#working.length; k++) if (this.#working[k]!.module.name === name) return k;
    return -1;
  }
}

function isOf({ transports }: ApplicationModule, protocol: number): boolean {
  for (let k = 0; k < transports.length; k++)
    if (TRANSPORT_PROTOCOLS[transports[k]!] === protocol) return true;
  return false;
}

const NOTHING_READ: ApplicationModule = {
  name: "",
  transports: [],
  ports: [],
  expectationsMax: 0,
  read: () => {},
};

const NOTHING: Count = {
  rewritten: 0,
  announced: 0,
  begun: 0,
  foreign: 0,
  lowPort: 0,
  noPlace: 0,
  noRoom: 0,
  badChecksum: 0,
  outOfOrder: 0,
  unacknowledged: 0,
  encrypted: 0,
  unattended: 0,
  failed: 0,
};

/** Modules for a director. */
export const applicationsOf =
  (modules: readonly ApplicationModule[]): ApplicationsFactory =>
  (host) =>
    new Engine(host, modules);

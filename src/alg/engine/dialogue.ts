/** A connection that has a module: who is on either side, what the module remembers, what was announced. */

import { type AssociationPaths, isPath } from "../../nat/association-paths.ts";
import type { ApplicationOptions } from "../../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable } from "../../nat/connection-table.ts";
import type { ApplicationCounters } from "../../nat/contracts/application.ts";
import type { DialogueMark, DialogueMarks } from "../../nat/dialogue-marks.ts";
import { type Expectations, type Expected, PORT_MIN } from "../../nat/expectations.ts";
import type { TunnelCalls } from "../../nat/tunnel-calls.ts";
import { formatAddress, parseAddress } from "../../wire/address.ts";
import { Protocol } from "../../wire/flow.ts";
import { AnnouncedCalls } from "./announced-calls.ts";
import {
  type AnnouncedProtocol,
  type Announcement,
  type ApplicationModule,
  DIALOGUE_WORDS,
  type Dialogue,
  type Side,
  type Transport,
  UNREADABLE,
} from "./module.ts";
import { Stream, streamBytes } from "./stream.ts";
import type { Unit } from "./unit.ts";

export type Count = { -readonly [Name in keyof ApplicationCounters]: number };

/** What dialogues share. */
export interface DialogueHost {
  readonly connections: ConnectionTable;
  readonly expectations: Expectations;
  readonly tunnelCalls: TunnelCalls;
  readonly paths: AssociationPaths;
  /** A path of this dialogue's association was found. @returns its dialogue, or undefined */
  beginPath(record: number, of: ModuleDialogue): ModuleDialogue | undefined;
  /** The unit that is being read. */
  readonly unit: Unit;
  onRewrite: ((before: string, after: string) => void) | undefined;
  /** Number of a module for connections that are announced; 0: there is none of this name. */
  numberOf(name: string): number;
}

/** A module, and what it has done. */
export interface Working {
  readonly module: ApplicationModule;
  readonly counters: Count;
  /** Dialogues it may use again. */
  readonly free: ModuleDialogue[];
}

const NO_OPTIONS: ApplicationOptions = {};
const PROTOCOLS = { tcp: Protocol.tcp, udp: Protocol.udp, gre: Protocol.gre } as const;
const TRANSPORTS: Readonly<Record<number, Transport>> = {
  [Protocol.tcp]: "tcp",
  [Protocol.udp]: "udp",
  [Protocol.sctp]: "sctp",
};
const TICKS_PER_SECOND = 100;
const LASTING_SECONDS_MAX = 86_400;
/** Further paths of an association; another one takes the place of the oldest. */
const PATHS_MAX = 7;

export class ModuleDialogue implements Dialogue {
  memory = 0;
  readonly words = new Int32Array(DIALOGUE_WORDS);
  options = NO_OPTIONS;
  record = -1;
  readonly working: Working;
  /** Where it is kept. */
  readonly number: number;
  toServer: Stream | undefined;
  toClient: Stream | undefined;
  /** Nothing is read any more. */
  isUnread = false;
  /** The packet that was read last is not passed on. */
  isDropped = false;
  readonly #host: DialogueHost;
  /** Once there is one. */
  #calls: AnnouncedCalls | undefined;
  /** Entries of further paths, some of which may have come to their end. */
  readonly #paths: number[] = [];
  // What was announced, newest first: entries, -1 where there is none, and which of those that a record held they are.
  readonly #records: Int32Array;
  readonly #generations: Int32Array;
  readonly #sides: Uint8Array;
  readonly #ownPorts: Uint16Array;
  /** It goes with this connection, rather than keep it alive. */
  readonly #isBound: Uint8Array;
  /** The first port of a pair. */
  readonly #hasSecond: Uint8Array;

  constructor(host: DialogueHost, working: Working, number: number) {
    this.#host = host;
    this.working = working;
    this.number = number;
    const { expectationsMax } = working.module;
    this.#records = new Int32Array(expectationsMax).fill(-1);
    this.#generations = new Int32Array(expectationsMax);
    this.#sides = new Uint8Array(expectationsMax);
    this.#ownPorts = new Uint16Array(expectationsMax);
    this.#isBound = new Uint8Array(expectationsMax);
    this.#hasSecond = new Uint8Array(expectationsMax);
  }

  /** Bytes that the streams of such a dialogue take. */
  static streamBytes({ stream }: ApplicationModule): number {
    return stream === undefined ? 0 : 2 * streamBytes(stream.unitBytesMax);
  }

  /** Begin anew, for another connection. */
  begin(record: number, options: ApplicationOptions | undefined, transport: number): void {
    this.memory = 0;
    this.words.fill(0);
    this.options = options ?? NO_OPTIONS;
    this.record = record;
    this.isUnread = false;
    this.#records.fill(-1);
    this.#calls?.forget();
    this.#paths.length = 0;
    if (transport !== Protocol.tcp || this.working.module.stream === undefined) return;
    this.toServer ??= this.#makeStream("client");
    this.toClient ??= this.#makeStream("server");
    this.toServer.reset();
    this.toClient.reset();
  }

  /** Go on with what another process began. */
  resume({ toServer, toClient, memory, words }: DialogueMark): void {
    this.memory = memory;
    this.words.set(words.subarray(0, DIALOGUE_WORDS));
    if (toServer !== undefined) this.toServer?.resume(toServer.edge, toServer.shift);
    if (toClient !== undefined) this.toClient?.resume(toClient.edge, toClient.shift);
  }

  /** Note how far everything was read, as far as nothing is under way. */
  note(marks: DialogueMarks): void {
    const { toServer, toClient } = this;
    const isServerQuiet = toServer === undefined || toServer.isQuiet;
    const isClientQuiet = toClient === undefined || toClient.isQuiet;
    if (toServer?.isQuiet) marks.noteStream(this.number, 0, toServer.edge, toServer.shift);
    if (toClient?.isQuiet) marks.noteStream(this.number, 1, toClient.edge, toClient.shift);
    if (isServerQuiet && isClientQuiet) marks.noteMemory(this.number, this.memory, this.words);
  }

  #makeStream(from: Side): Stream {
    const shape = this.working.module.stream!;
    const { unit } = this.#host;
    return new Stream(
      {
        measure: (bytes, at, length) => {
          unit.aim(bytes, at, length);
          try {
            return shape.measure(unit, from, this);
          } catch {
            this.#fail();
            return UNREADABLE;
          }
        },
        mayChange: (bytes, at, length) => {
          unit.aim(bytes, at, length);
          try {
            return shape.mayChange(unit, from, this);
          } catch {
            this.#fail();
            return false;
          }
        },
        read: (bytes, at, length, out, outAt, room) => this.read(from, bytes, at, length, out, outAt, room),
      },
      shape.unitBytesMax,
      shape.endByte ?? -1,
    );
  }

  /** A mistake of the module's own ends its work on this connection. */
  #fail(): void {
    this.working.counters.failed++;
    this.passUnread();
  }

  /**
   * Have a unit read.
   * @param out - where it is to be written if it was changed, `room` bytes at most; 0: it cannot be changed any more
   * @returns bytes written; 0: the unit stays
   */
  read(
    from: Side,
    bytes: Uint8Array,
    at: number,
    length: number,
    out: Uint8Array,
    outAt: number,
    room: number,
  ): number {
    if (this.isUnread) return 0;
    const { unit } = this.#host;
    const { counters, module } = this.working;
    unit.aim(bytes, at, length);
    try {
      module.read(unit, from, this);
    } catch {
      this.#fail();
      return 0;
    }
    if (unit.isFaulty) counters.noRoom++;
    if (!unit.isChanged) return 0;
    const written = room === 0 ? -1 : unit.write(out, outAt, room);
    if (written < 0) {
      counters.noRoom++;
      return 0;
    }
    counters.rewritten++;
    this.#host.onRewrite?.(unit.describe(false), unit.describe(true));
    return written;
  }

  get family(): 4 | 6 {
    return this.#host.connections.family(this.record) as 4 | 6;
  }

  get transport(): Transport {
    return TRANSPORTS[this.#host.connections.protocol(this.record)]!;
  }

  isHidden(side: Side): boolean {
    const { connections: table } = this.#host;
    return side === "client"
      ? table.source(this.record) > 0
      : !table.hasFlag(this.record, ConnectionFlag.masquerade);
  }

  ownAddress(side: Side): string {
    const { connections: table } = this.#host;
    return formatAddress(this.family, table.words, this.#ownAt(side));
  }

  shownAddress(side: Side): string {
    const { connections: table } = this.#host;
    if (side === "server") return formatAddress(this.family, table.words, table.virtualAt(this.record));
    const source = table.source(this.record);
    if (source > 0) return formatAddress(this.family, table.sourceWords, source * 4);
    return formatAddress(this.family, table.words, table.clientAt(this.record));
  }

  ownPort(side: Side): number {
    const { connections: table } = this.#host;
    return side === "server" ? table.destinationPort(this.record) : table.clientPort(this.record);
  }

  shownPort(side: Side): number {
    const { connections: table } = this.#host;
    return side === "server" ? table.virtualPort(this.record) : table.sourcePort(this.record);
  }

  ownWord(side: Side): number {
    return this.#host.connections.words[this.#ownAt(side)]!;
  }

  shownWord(side: Side): number {
    const { connections: table } = this.#host;
    if (side === "server") return table.words[table.virtualAt(this.record)]!;
    const source = table.source(this.record);
    return source > 0 ? table.sourceWords[source * 4]! : table.words[table.clientAt(this.record)]!;
  }

  #ownAt(side: Side): number {
    const { connections: table } = this.#host;
    return side === "server" ? table.destinationAt(this.record) : table.clientAt(this.record);
  }

  listens(side: Side, announcement: Announcement): number {
    if (announcement.protocol === "gre") return this.#gives(side, announcement);
    // It is reached without help.
    if (side === "server" && !this.isHidden("server") && announcement.module === undefined) return 0;
    const { expectations } = this.#host;
    const { port, lastPort = 0, protocol } = announcement;
    const server = this.#listener(side, announcement);
    if (server === undefined) {
      this.working.counters.foreign++;
      return 0;
    }
    if (port < PORT_MIN && announcement.isLowAllowed !== true) {
      this.working.counters.lowPort++;
      return 0;
    }
    if (port < 1 || port > 65_535 || lastPort > 65_535 || this.#records.length === 0) return 0;
    const { seconds = 0, appearsFrom = "same", module } = announcement;
    const ticks = Math.min(seconds, LASTING_SECONDS_MAX) * TICKS_PER_SECOND;
    const known = lastPort === 0 ? this.#findKnown(side, protocol, port, ticks) : 0;
    if (known > 0) return known;
    const { wanted } = expectations;
    wanted.protocol = PROTOCOLS[protocol];
    wanted.port = port;
    wanted.lastPort = lastPort;
    wanted.preferredPort = announcement.preferredPort ?? port;
    wanted.isPair = announcement.isPair === true;
    wanted.isAnyone = announcement.from === "anyone";
    wanted.isLasting = announcement.isLasting === true;
    wanted.ticks = ticks;
    wanted.appearsFrom = appearsFrom === "same" ? 0 : appearsFrom;
    wanted.application = module === undefined ? 0 : this.#host.numberOf(module);
    wanted.server = server;
    const record =
      side === "server"
        ? expectations.serverListens(this.record, wanted)
        : expectations.clientListens(this.record, wanted);
    const { publicPort, second } = expectations;
    if (record < 0) {
      this.working.counters.noPlace++;
      return 0;
    }
    if (second >= 0) this.#note(second, side, port + 1, wanted, false);
    this.#note(record, side, port, wanted, second >= 0);
    this.working.counters.announced++;
    return publicPort;
  }

  #gives(side: Side, { port, answers }: Announcement): number {
    const { connections: table, tunnelCalls } = this.#host;
    const { counters, module } = this.working;
    this.#calls ??= new AnnouncedCalls(table, tunnelCalls, module.expectationsMax);
    const shown = this.#calls.give(this.record, side, port, answers);
    if (shown < 0) counters.noPlace++;
    else if (answers === undefined) counters.announced++;
    else counters.begun++;
    return shown;
  }

  /** The connection is not established any more, and what belongs to its calls is nobody's. */
  endCalls(): void {
    this.#calls?.endAll(this.record);
  }

  /** Who listens, as a destination's number: may this side announce it? */
  #listener(side: Side, { address, isFellowAllowed }: Announcement): number | undefined {
    const { connections: table, expectations } = this.#host;
    const own = table.server(this.record);
    if (address === undefined || address === this.ownAddress(side) || address === this.shownAddress(side))
      return own;
    // IPv6 has many spellings.
    const parsed = parseAddress(address);
    if (parsed === undefined || parsed.family !== this.family) return undefined;
    const text = formatAddress(this.family, parsed.words, 0);
    if (text === this.ownAddress(side) || text === this.shownAddress(side)) return own;
    return side === "server" && isFellowAllowed === true ? expectations.fellow(own, parsed.words) : undefined;
  }

  /** Public port of what was announced before, and is not over; 0: it was not, or has to be announced again. */
  #findKnown(side: Side, protocol: AnnouncedProtocol, port: number, ticks: number): number {
    const index = this.#indexOf(side, protocol, port, 0);
    if (index < 0) return 0;
    const { connections: table, expectations } = this.#host;
    const record = this.#records[index]!;
    // A TCP connection that came is one transfer's; datagrams of a call go on.
    if (table.hasFlag(record, ConnectionFlag.expected)) {
      expectations.renew(record, ticks);
      if (ticks > 0) this.#isBound[index] = 0;
    } else if (protocol === "tcp") return 0;
    return this.#shownPort(side, record);
  }

  #note(
    record: number,
    side: Side,
    ownPort: number,
    { isLasting, ticks }: Expected,
    hasSecond: boolean,
  ): void {
    const { connections: table, expectations } = this.#host;
    const records = this.#records;
    const known = records.indexOf(record);
    if (known >= 0) records[known] = -1;
    const last = records.length - 1;
    if (known < 0 && records[last] !== -1 && this.#isOwn(last))
      expectations.withdraw(records[last]!, this.record);
    const moved = known < 0 ? last : known;
    for (const list of [
      records,
      this.#generations,
      this.#sides,
      this.#ownPorts,
      this.#isBound,
      this.#hasSecond,
    ]) list.copyWithin(1, 0, moved); // biome-ignore format: a list
    records[0] = record;
    this.#generations[0] = table.generation(record);
    this.#sides[0] = side === "server" ? 1 : 0;
    this.#ownPorts[0] = ownPort;
    this.#isBound[0] = isLasting && ticks === 0 ? 1 : 0;
    this.#hasSecond[0] = hasSecond ? 1 : 0;
  }

  /** Is the entry still the one that was announced here? */
  #isOwn(index: number): boolean {
    const { connections: table } = this.#host;
    const record = this.#records[index]!;
    return (
      record >= 0 &&
      table.isLive(record) &&
      table.generation(record) === this.#generations[index] &&
      table.controller(record) === this.record
    );
  }

  #indexOf(side: Side, protocol: AnnouncedProtocol, ownPort: number, shownPort: number): number {
    const { connections: table } = this.#host;
    const wantedSide = side === "server" ? 1 : 0;
    for (let index = 0; index < this.#records.length; index++) {
      if (this.#sides[index] !== wantedSide || !this.#isOwn(index)) continue;
      const record = this.#records[index]!;
      if (table.protocol(record) !== PROTOCOLS[protocol]) continue;
      if (ownPort > 0 ? this.#ownPorts[index] === ownPort : this.#shownPort(side, record) === shownPort)
        return index;
    }
    return -1;
  }

  #shownPort(side: Side, record: number): number {
    const { connections: table } = this.#host;
    return side === "server" ? table.virtualPort(record) : table.sourcePort(record);
  }

  withdraw(side: Side, protocol: AnnouncedProtocol, ownPort: number): void {
    if (protocol === "gre") this.#calls?.end(this.record, side, ownPort);
    for (;;) {
      const index = this.#indexOf(side, protocol, ownPort, 0);
      if (index < 0) return;
      const record = this.#records[index]!;
      this.#records[index] = -1;
      this.#host.expectations.end(record, this.record);
      if (this.#hasSecond[index] === 1) this.withdraw(side, protocol, ownPort + 1);
    }
  }

  ownPortOf(side: Side, protocol: AnnouncedProtocol, shownPort: number): number {
    if (protocol === "gre") return this.#calls?.ownIdOf(this.record, side, shownPort) ?? -1;
    const index = shownPort > 0 ? this.#indexOf(side, protocol, 0, shownPort) : -1;
    return index < 0 ? 0 : this.#ownPorts[index]!;
  }

  shownPortOf(side: Side, protocol: AnnouncedProtocol, ownPort: number): number {
    if (protocol === "gre") return this.#calls?.shownIdOf(this.record, side, ownPort) ?? -1;
    const index = ownPort > 0 ? this.#indexOf(side, protocol, ownPort, 0) : -1;
    return index < 0 ? 0 : this.#shownPort(side, this.#records[index]!);
  }

  get isPath(): boolean {
    return isPath(this.#host.connections, this.record);
  }

  alsoAt(address: Int32Array): void {
    const record = this.#host.paths.add(this.record, address);
    if (record === this.record) return;
    const path = record < 0 ? undefined : this.#host.beginPath(record, this);
    if (path === undefined) {
      this.working.counters.noPlace++;
      return;
    }
    path.memory = this.memory;
    path.words.set(this.words);
    if (this.#paths.includes(record)) return;
    this.working.counters.announced++;
    if (this.#paths.length === PATHS_MAX) this.#host.paths.end(this.#paths.shift()!, this.record);
    this.#paths.push(record);
  }

  withdrawPaths(): void {
    for (const record of this.#paths) this.#host.paths.end(record, this.record);
    this.#paths.length = 0;
  }

  claimTag(tag: number): void {
    this.#host.paths.remember(this.record, tag | 0);
  }

  drop(): void {
    this.isDropped = true;
  }

  virtualPortBetween(serverPort: number, clientPort: number): number {
    return this.#host.expectations.virtualPortBetween(this.record, serverPort, clientPort);
  }

  /** This connection's time is up: what is bound to it goes first, unless something else keeps it alive. */
  withdrawBound(): void {
    let boundCount = 0;
    for (let index = 0; index < this.#records.length; index++)
      if (this.#isBound[index] === 1 && this.#isOwn(index)) boundCount++;
    if (this.#host.connections.controlledCount(this.record) > boundCount) return;
    for (let index = 0; index < this.#records.length; index++) {
      if (this.#isBound[index] === 1 && this.#isOwn(index))
        this.#host.expectations.withdraw(this.#records[index]!, this.record);
    }
  }

  stepAside(): void {
    this.working.counters.encrypted++;
    this.passUnread();
  }

  passUnread(): void {
    this.isUnread = true;
    if (this.toServer !== undefined) this.toServer.isOpaque = true;
    if (this.toClient !== undefined) this.toClient.isOpaque = true;
  }
}

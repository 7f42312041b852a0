/**
 * The fast path as the director's flow cache: maps, program and links, and what is written to and read from them. Belongs
 * to the thread that owns the director, and to its network namespace.
 *
 * Nothing here is needed for packets to flow. What the kernel refuses is counted and said, and those packets go to the
 * director as they would without it.
 */
import type { ConnectionTable } from "../../nat/connection-table.ts";
import type {
  BeginningSink,
  ChangeSink,
  FlowCache,
  FlowRules,
  TrafficSink,
} from "../../nat/contracts/flow-cache.ts";
import { Flow, Protocol } from "../../wire/flow.ts";
import { errnoName, SystemCallError } from "../system-call.ts";
import { assemble } from "./asm/assembler.ts";
import { Auditor, type Mismatch } from "./audit.ts";
import { Choices } from "./choices.ts";
import { ConnectionLines } from "./connection-lines.ts";
import { ControlBlock } from "./control-block.ts";
import { FlowWriter } from "./flow-writer.ts";
import { BpfProgram, TcxLink } from "./kernel/bpf.ts";
import { probeFeatures } from "./kernel/features.ts";
import { Pins } from "./kernel/pins.ts";
import { Ring } from "./kernel/ring.ts";
import { Born, Count, flowClass, flowClassName, News, NewsKind } from "./maps/layout.ts";
import { closeMaps, createMaps, descriptorsOf, type FlowMaps, serversMax } from "./maps/maps.ts";
import { fastPath } from "./program/fast-path.ts";
import { type FindWay, Ways } from "./way.ts";

/** As the project, and GPL for the kernel, which does not let others look at its routing (bpf_fib_lookup). */
const LICENSE = "Dual MIT/GPL";
/** A packet in so many is audited. */
const AUDITED_ONE_IN = 4096;
/** Longest pause for memory that is nearly used up, before inserting is tried again. */
const REFUSED_PAUSE_TICKS = 100;

export interface FlowCacheOptions {
  readonly table: ConnectionTable;
  readonly findWay: FindWay;
  /** What CLOCK_MONOTONIC shows at the director's zero, nanoseconds. */
  readonly originNs: number;
  /** The interface whose packets the kernel routes as what the director writes; default: servers are not chosen here. */
  readonly routedAs?: number;
  /** A packet in so many is audited, a power of two; 0: none. */
  readonly auditedOneIn?: number;
  /** Where program and flows are kept for the next process, and where those of the one before are; default: nowhere. */
  readonly pinDirectory?: string;
  /** Something the operator must know, a line each. */
  readonly onWarning: (message: string) => void;
}

export interface FlowCacheStatus {
  /** Connections that are cached now. */
  readonly connections: number;
  /** Connections that it knows and leaves to the director. */
  readonly excepted: number;
  /** Interfaces whose packets it sees, by number. */
  readonly devices: readonly number[];
  readonly audited: number;
  readonly mismatches: number;
  /** Kinds of flows that an audit switched off. */
  readonly classesOff: readonly string[];
  /** Connections that found no room or no way. */
  readonly refused: number;
  readonly withoutWay: number;
  /** News that found no room; their connections were all looked at instead. */
  readonly lostNews: number;
}

interface Predecessor {
  readonly lines: ConnectionLines;
  /** Its lines. */
  readonly capacity: number;
  /** News that it did not come to. */
  readonly ring: Ring | undefined;
}

export class EbpfFlowCache implements FlowCache {
  readonly maps: FlowMaps;
  readonly program: BpfProgram;
  readonly chooser: Choices | undefined;
  readonly #options: FlowCacheOptions;
  readonly #table: ConnectionTable;
  readonly #control: ControlBlock;
  readonly #lines: ConnectionLines;
  readonly #writer: FlowWriter;
  readonly #ways: Ways;
  readonly #ring: Ring;
  readonly #auditor: Auditor;
  readonly #epochs: Int32Array;
  readonly #counts: BigUint64Array;
  readonly #countWords: Int32Array;
  readonly #countsTaken: Float64Array;
  /** Packets of each destination when its counts were last taken, all together, modulo 2^32. */
  readonly #sumsSeen: Int32Array;
  readonly #processorCount: number;
  readonly #serversMax: number;
  readonly #links = new Map<number, TcxLink>();
  readonly #pins: Pins | undefined;
  /** What connections came to while no process was there. */
  #predecessor: Predecessor | undefined;
  readonly #flow = new Flow();
  readonly #destination = new Int32Array(4);
  #connectionCount = 0;
  /** Which records are of connections that are known and not repeated: 1; others 0. */
  readonly #excepted: Uint8Array;
  #exceptedCount = 0;
  #refusedCount = 0;
  readonly #refusalsSaid = new Set<string>();
  #withoutWayCount = 0;
  #refusedUntilTick = 0;
  #lostNewsSeen = 0;
  #mismatchCount = 0;
  /** Whom `takeChanges` hands connections to. */
  #changed: ChangeSink = () => {};

  /** @throws SystemCallError, ProgramRefusedError: there is no fast path here, for this reason */
  constructor(options: FlowCacheOptions) {
    const { table, findWay, originNs, routedAs = 0, auditedOneIn = AUDITED_ONE_IN } = options;
    const { processorCount, hasIpv6Checksums } = probeFeatures();
    this.#options = options;
    this.#table = table;
    this.#excepted = new Uint8Array(table.capacity);
    this.#processorCount = processorCount;
    this.#serversMax = serversMax(processorCount);
    this.maps = createMaps({ capacity: table.capacity, processorCount });
    try {
      const program = fastPath({ processorCount, hasIpv6Flag: hasIpv6Checksums });
      this.program = BpfProgram.load("vsnat", assemble(program, descriptorsOf(this.maps)), LICENSE);
      const { connections, control, epochs, flows, hops, news, servers, ways } = this.maps;
      this.#control = new ControlBlock(control.memory);
      this.#control.auditedShare = auditedOneIn;
      this.#lines = new ConnectionLines(connections.memory, originNs);
      this.#writer = new FlowWriter(table, flows);
      this.#ways = new Ways(ways, hops, findWay);
      this.#ring = new Ring(news);
      this.#control.routedAs = routedAs;
      if (routedAs !== 0) this.chooser = new Choices(this.maps, this.#ways, this.#lines, this.#serversMax);
      this.#epochs = new Int32Array(epochs.memory);
      this.#counts = new BigUint64Array(servers.memory);
      this.#countWords = new Int32Array(servers.memory);
      this.#sumsSeen = new Int32Array(this.#serversMax);
      this.#countsTaken = new Float64Array(this.#serversMax * (Count.bytes / 8));
    } catch (error) {
      closeMaps(this.maps);
      throw error;
    }
    this.#auditor = new Auditor(table);
    this.#pins = this.#openPins(options.pinDirectory);
  }

  /**
   * Take over from the process before: its program gives way to this one between two packets, so that from here on every
   * packet comes to the director until its flow is cached again.
   */
  #openPins(directory: string | undefined): Pins | undefined {
    if (directory === undefined) return undefined;
    try {
      const pins = new Pins(directory);
      for (const link of pins.links()) this.#takeLink(link);
      const before = pins.map("connections");
      const news = pins.map("news");
      if (before !== undefined) {
        const lines = new ConnectionLines(before.memory, this.#options.originNs);
        const ring = news && new Ring(news);
        this.#predecessor = { lines, capacity: before.shape.entriesMax, ring };
        before.close(); // its memory stays mapped
        news?.close();
      }
      pins.clear();
      pins.keepMaps(this.maps);
      for (const [device, link] of this.#links) pins.keepLink(link, device);
      return pins;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      this.#options.onWarning(`${error.message}; after a restart flows begin anew`);
      return undefined;
    }
  }

  #takeLink(link: TcxLink): void {
    const { device } = link;
    try {
      if (device === 0) throw new Error("its interface is gone");
      link.replace(this.program);
      this.#links.set(device, link);
    } catch {
      link.detach();
      link.close();
    }
  }

  /**
   * Enter what became of connections while no process was there. The director's table must be the one of the process
   * before, with its record numbers and generations, and no time may have been let pass on it yet.
   * @param enter - gets a record, its state, the tick of its last packet, packets from the client since it was last entered
   * @returns connections entered
   */
  inherit(enter: (record: number, state: number, seenTick: number, inPackets: number) => void): number {
    const { lines, capacity, ring } = this.#predecessor ?? { lines: undefined, capacity: 0, ring: undefined };
    // Connections that began while nobody looked have lines of their own there, but no entry yet.
    ring?.drain((data, at) => {
      const line = data.getUint32(at + Born.at.record, true);
      const isBorn = data.getUint32(at, true) === NewsKind.born;
      if (
        !isBorn ||
        line >= capacity ||
        lines?.generation(line) !== data.getInt32(at + Born.at.generation, true)
      )
        return;
      const record = this.#announce(data, at, -1, this.chooser?.onBegan);
      if (record >= 0)
        enter(record, lines.takeState(line), lines.takeSeenTick(line), lines.takeInPackets(line));
    });
    const end = Math.min(capacity, this.#table.highWater);
    let count = 0;
    for (let record = 0; record < end && lines !== undefined; record++) {
      const generation = lines.generation(record);
      if (generation === 0 || !this.#table.isLive(record) || this.#table.generation(record) !== generation)
        continue;
      if (!lines.hasNews(record)) continue;
      enter(record, lines.takeState(record), lines.takeSeenTick(record), lines.takeInPackets(record));
      count++;
    }
    this.#predecessor = undefined;
    return count;
  }

  /**
   * See the packets that come in at these interfaces, and at no others.
   * @returns those where that cannot be, and why; their packets take the slow path
   */
  attach(devices: readonly number[]): ReadonlyMap<number, SystemCallError> {
    const refusals = new Map<number, SystemCallError>();
    for (const [device, link] of this.#links) {
      if (devices.includes(device) && link.device === device) continue;
      link.detach();
      link.close();
      this.#pins?.dropLink(device);
      this.#links.delete(device);
    }
    for (const device of devices) {
      if (this.#links.has(device)) continue;
      try {
        const link = TcxLink.attach(this.program, device);
        this.#links.set(device, link);
        this.#pins?.keepLink(link, device);
      } catch (error) {
        if (!(error instanceof SystemCallError)) throw error;
        refusals.set(device, error);
      }
    }
    return refusals;
  }

  /** Routes changed: nothing that was found out about them holds. The caller flushes every destination. */
  forgetWays(): void {
    this.#ways.forget();
  }

  get status(): FlowCacheStatus {
    const off = this.#control.classesOff;
    return {
      connections: this.#connectionCount,
      excepted: this.#exceptedCount,
      devices: [...this.#links.keys()],
      audited: this.#auditor.auditedCount,
      mismatches: this.#mismatchCount,
      classesOff: Array.from({ length: 8 }, (_, bit) => 1 << bit)
        .filter((bit) => (off & bit) !== 0)
        .map(flowClassName),
      refused: this.#refusedCount,
      withoutWay: this.#withoutWayCount,
      lostNews: this.#control.lostNewsCount,
    };
  }

  /** Tests set the clock. */
  set originNs(originNs: number) {
    this.#lines.originNs = originNs;
  }

  /**
   * Let go of everything.
   * @param isKept - what is pinned stays at work without a process; otherwise the program is taken off
   */
  close(isKept = false): void {
    if (isKept && this.#pins !== undefined) for (const link of this.#links.values()) link.close();
    else {
      this.#control.isEnabled = false;
      this.attach([]);
      this.#pins?.clear();
    }
    this.program.close();
    closeMaps(this.maps);
  }

  // FlowCache

  install(record: number, state: number, seenTick: number, nowTick: number): boolean {
    const table = this.#table;
    const server = table.server(record);
    if (server >= this.#serversMax) {
      this.#refuse(`it has room for ${this.#serversMax} servers`);
      return this.except(record);
    }
    if (nowTick < this.#refusedUntilTick) {
      this.#refusedCount++;
      return false;
    }
    const family = table.family(record) as 4 | 6;
    const { words } = table;
    const [client, destination] = [table.clientAt(record), table.destinationAt(record)];
    const toServer = this.#ways.to(family, words, destination, words, client);
    const toClient = this.#ways.to(family, words, client, words, table.virtualAt(record));
    if (toServer < 0 || toClient < 0) {
      this.#withoutWayCount++;
      return this.except(record);
    }
    const epoch = this.#epochs[server * 2]!;
    const wasCached = this.isCached(record);
    this.#lines.begin(record, table.generation(record), epoch, table.inPackets(record));
    this.#lines.tell(record, state, seenTick);
    const result = this.#writer.put(record, epoch, toServer, toClient);
    if (result < 0) {
      this.#lines.end(record);
      if (wasCached) this.#uncount(record);
      this.#refuse(errnoName(-result));
      this.#refusedUntilTick = nowTick + REFUSED_PAUSE_TICKS;
      return false;
    }
    if (wasCached) this.#uncount(record);
    this.#connectionCount++;
    return true;
  }

  except(record: number): boolean {
    // Only who chooses could take it for new.
    if (this.chooser === undefined || this.isCached(record)) return true;
    const table = this.#table;
    const stale = (this.#epochs[table.server(record) * 2] ?? 0) - 1;
    this.#lines.begin(record, table.generation(record), stale, table.inPackets(record));
    if (this.#writer.put(record, stale, 0, 0) < 0) {
      this.#lines.end(record);
      return false;
    }
    this.#excepted[record] = 1;
    this.#exceptedCount++;
    return true;
  }

  #uncount(record: number): void {
    if (this.#excepted[record] === 1) this.#exceptedCount--;
    else this.#connectionCount--;
    this.#excepted[record] = 0;
  }

  withdraw(record: number): void {
    if (this.#lines.generation(record) === 0) return;
    this.#lines.end(record);
    this.#writer.takeOut(record);
    this.#uncount(record);
  }

  lapse(record: number): void {
    if (!this.isCached(record)) return;
    this.#lines.end(record);
    this.#uncount(record);
  }

  flushServer(number: number): void {
    if (number < this.#serversMax) Atomics.add(this.#epochs, number * 2, 1);
  }

  isCached(record: number): boolean {
    const generation = this.#lines.generation(record);
    return generation !== 0 && generation === this.#table.generation(record);
  }

  isCurrent(record: number): boolean {
    return (
      this.isCached(record) && this.#lines.epoch(record) === this.#epochs[this.#table.server(record) * 2]
    );
  }

  state(record: number): number {
    return this.#lines.takeState(record);
  }

  seenTick(record: number): number {
    return this.#lines.takeSeenTick(record);
  }

  takeInPackets(record: number, until?: number): number {
    return this.#lines.takeInPackets(record, until);
  }

  hasNews(record: number): boolean {
    return this.#lines.hasNews(record);
  }

  tell(record: number, state: number, nowTick: number): void {
    this.#lines.tell(record, state, nowTick);
  }

  takeChanges(changed: ChangeSink): void {
    this.#changed = changed;
    this.#ring.drain(this.#takeNews);
    const { lostNewsCount } = this.#control;
    if (lostNewsCount === this.#lostNewsSeen) return;
    this.#lostNewsSeen = lostNewsCount;
    const { highWater } = this.#table;
    for (let record = 0; record < highWater; record++)
      if (this.#table.isLive(record) && this.isCached(record))
        changed(record, this.#lines.state(record), 0, 0);
  }

  takeCounts(number: number, add: TrafficSink): void {
    if (number >= this.#serversMax || !this.#hasCounts(number)) return;
    const inPackets = this.#takeCount(number, 0);
    const inBytes = this.#takeCount(number, 1);
    const outPackets = this.#takeCount(number, 2);
    const outBytes = this.#takeCount(number, 3);
    if (inPackets > 0 || outPackets > 0) add(inPackets, inBytes, outPackets, outBytes);
  }

  setEnabled(isEnabled: boolean): void {
    this.#control.isEnabled = isEnabled;
  }

  setRules(rules: FlowRules): void {
    this.#control.setRules(rules);
  }

  /** Whether a destination had packets: most have none most of the time, and this costs no big integers. */
  #hasCounts(number: number): boolean {
    let sum = 0;
    const words = Count.bytes / 4;
    for (let processor = 0; processor < this.#processorCount; processor++) {
      const at = (number * this.#processorCount + processor) * words;
      sum += this.#countWords[at + Count.at.inPackets / 4]! + this.#countWords[at + Count.at.outPackets / 4]!;
    }
    sum |= 0;
    if (this.#sumsSeen[number] === sum) return false;
    this.#sumsSeen[number] = sum;
    return true;
  }

  /** @param quantity - place among the counts of a line */
  #takeCount(number: number, quantity: number): number {
    const quantities = Count.bytes / 8;
    let total = 0;
    for (let processor = 0; processor < this.#processorCount; processor++)
      total += Number(this.#counts[(number * this.#processorCount + processor) * quantities + quantity]);
    const at = number * quantities + quantity;
    const taken = total - this.#countsTaken[at]!;
    this.#countsTaken[at] = total;
    return taken;
  }

  readonly #takeNews = (data: DataView, at: number): void => {
    const kind = data.getUint32(at, true);
    if (kind === NewsKind.audit) {
      const mismatch = this.#auditor.judge(data, at);
      if (mismatch !== undefined) this.#disagree(mismatch);
      return;
    }
    const record = data.getUint32(at + News.at.record, true);
    const generation = data.getInt32(at + News.at.generation, true);
    if (kind === NewsKind.returned) {
      this.#lines.end(record);
      this.chooser?.onReturned(record, data.getInt32(at + Born.at.server, true));
      return;
    }
    if (kind === NewsKind.born) {
      this.#connectionCount++;
      this.#announce(data, at, record, this.chooser?.onBegan);
      return;
    }
    if (this.#lines.generation(record) === generation && this.isCached(record))
      this.#changed(
        record,
        data.getUint32(at + News.at.state, true),
        data.getInt32(at + News.at.inPackets, true),
        data.getUint32(at + News.at.isIn, true),
      );
  };

  /** @param at - of a Born */
  #announce(data: DataView, at: number, record: number, tell: BeginningSink | undefined): number {
    const flow = this.#flow;
    flow.family = data.getUint8(at + Born.at.family) as 4 | 6;
    flow.protocol = data.getUint8(at + Born.at.protocol);
    for (let word = 0; word < 4; word++) {
      flow.words[word] = data.getInt32(at + Born.at.client + word * 4);
      flow.words[4 + word] = data.getInt32(at + Born.at.virtual + word * 4);
      this.#destination[word] = data.getInt32(at + Born.at.destination + word * 4);
    }
    flow.sourcePort = data.getUint16(at + Born.at.clientPort);
    flow.destinationPort = data.getUint16(at + Born.at.virtualPort);
    const port = data.getUint16(at + Born.at.destinationPort);
    const server = data.getUint32(at + Born.at.server, true);
    const replaced = data.getUint32(at + Born.at.replaced, true) - 1;
    const generation = data.getInt32(at + Born.at.replacedGeneration, true);
    return tell?.(record, server, flow, this.#destination, port, replaced, generation) ?? -1;
  }

  #disagree({ record, direction, before, kernel, director }: Mismatch): void {
    const family = this.#table.family(record) as 4 | 6;
    const bit = flowClass(family, this.#table.protocol(record) === Protocol.udp, direction);
    this.#mismatchCount++;
    if ((this.#control.classesOff & bit) !== 0) return;
    this.#control.switchOff(bit);
    this.#options.onWarning(
      `fast path switched off for ${flowClassName(bit)}: the audit found a packet that the director would have written ` +
        `otherwise, please report it: before ${before}, fast path ${kernel}, director ${director}`,
    );
  }

  /** Said once for each reason. */
  #refuse(reason: string): void {
    this.#refusedCount++;
    if (this.#refusalsSaid.has(reason)) return;
    this.#refusalsSaid.add(reason);
    this.#options.onWarning(
      `the fast path takes no more connections for now (${reason}); they take the slow path`,
    );
  }
}

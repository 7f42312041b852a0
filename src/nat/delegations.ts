/**
 * Services whose servers a flow cache chooses by itself, so that not even the first packet of a connection has to come here.
 *
 * A scheduler is asked ahead: its picks, made one after the other until it is where it was before, are a sequence that
 * anybody can go through (rr, wrr, dh); or it has a table by a hash of the client (sh). The director goes through the same
 * sequence for connections that come to it after all, and before anything about a service changes it takes the service
 * back and puts the scheduler to where the sequence had got. So the order of picks is the same as without.
 *
 * Not delegated: services with persistence, thresholds, an application module, a PROXY header, source addresses; ranges of
 * ports and all ports; packet by packet; other schedulers. Nobody's while there are firewall marks, synchronisation,
 * drop_packet, or entries that the cache does not have and a SYN might be about.
 */
import { Flow, Protocol } from "../wire/flow.ts";
import type { Bindings } from "./bindings.ts";
import type { CachedFlows } from "./cached-flows.ts";
import type { ConnectionTable } from "./connection-table.ts";
import type { BeginningSink, Delegation, ServerChooser } from "./contracts/flow-cache.ts";
import type { Destination } from "./destination.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { ServiceBook } from "./service-book.ts";
import type { VirtualService } from "./virtual-service.ts";

/** Picks kept for packets that are still to come; what is more is left out. */
const RETURNED_MAX = 64;
/** Of the table's records, a part of so many is lent at most. */
const LENT_PART = 16;
/** Services and records looked at by one call of `advance`. */
const SERVICES_PER_ADVANCE = 64;
const LENT_PER_ADVANCE = 2048;

interface Delegated {
  readonly choice: number;
  readonly delegation: Delegation;
  /** Of a sequence: where the scheduler was before each pick. */
  readonly positions: readonly number[];
  /** Picks that were taken in vain; the packets they were taken for are on their way here. */
  readonly returned: number[];
}

export class Delegations {
  /** Connections that a cache began. */
  begunCount = 0;
  /** May anything be delegated at all? */
  mayDelegate: () => boolean = () => true;
  readonly #table: ConnectionTable;
  readonly #services: ServiceBook;
  readonly #dispatcher: Dispatcher;
  readonly #bindings: Bindings;
  readonly #cached: CachedFlows;
  readonly #onBegun: () => void;
  readonly #delegated = new Map<VirtualService, Delegated>();
  #chooser: ServerChooser | undefined;
  /** Services that are still to be looked at. */
  #waiting: VirtualService[] = [];
  #isDirty = false;

  constructor(
    table: ConnectionTable,
    services: ServiceBook,
    dispatcher: Dispatcher,
    bindings: Bindings,
    cached: CachedFlows,
    onBegun: () => void,
  ) {
    this.#bindings = bindings;
    this.#table = table;
    this.#services = services;
    this.#dispatcher = dispatcher;
    this.#cached = cached;
    this.#onBegun = onBegun;
    table.onFull = () => this.#takeBackRecords();
  }

  /** Services that are chosen for elsewhere now. */
  get count(): number {
    return this.#delegated.size;
  }

  set chooser(chooser: ServerChooser | undefined) {
    this.recall();
    this.#takeBackRecords();
    this.#chooser = chooser;
    this.#isDirty = true;
    if (chooser === undefined) return;
    chooser.onBegan = this.#began;
    chooser.onReturned = (record, pick) => {
      this.#table.takeBack(record);
      this.#keep(pick);
    };
  }

  /** Something about this service, or about everything, is about to change: it is the director's again, for now. */
  recall(service?: VirtualService): void {
    if (this.#chooser === undefined) return;
    this.#isDirty = true;
    if (service === undefined) for (const one of [...this.#delegated.keys()]) this.#end(one);
    else this.#end(service);
  }

  /** A bounded part of what there is to do: delegate what can be, lend records. */
  advance(): void {
    const chooser = this.#chooser;
    if (chooser === undefined) return;
    if (this.#isDirty) {
      if (!this.mayDelegate()) {
        this.recall();
        return;
      }
      this.#isDirty = false;
      this.#waiting = [...this.#services.all];
    }
    for (let n = 0; n < SERVICES_PER_ADVANCE && this.#waiting.length > 0; n++)
      this.#begin(this.#waiting.pop()!);
    if (this.#delegated.size > 0) this.#lend(chooser);
  }

  /** The destination that takes this connection, whoever goes through the scheduler's picks. */
  pick(service: VirtualService, flow: Flow): Destination | undefined {
    const delegated = this.#delegated.size > 0 ? this.#delegated.get(service) : undefined;
    if (delegated === undefined || delegated.delegation.kind !== "sequence")
      return service.scheduler.pick(service.destinations, flow);
    const { delegation, choice, returned } = delegated;
    const number =
      returned.shift() ?? delegation.picks[placeIn(delegation, this.#chooser!.takePick(choice))]!;
    return this.#services.destination(number);
  }

  #keep(pick: number): void {
    const service = this.#services.findNumber(pick)?.service;
    const delegated = service && this.#delegated.get(service);
    if (delegated?.delegation.picks.includes(pick) && delegated.returned.length < RETURNED_MAX)
      delegated.returned.push(pick);
  }

  /** The director needs the records itself. @returns false when none is lent */
  #takeBackRecords(): boolean {
    const chooser = this.#chooser;
    if (chooser === undefined || chooser.lentCount === 0) return false;
    for (let record = chooser.takeBack(); record >= 0; record = chooser.takeBack())
      this.#table.takeBack(record);
    return true;
  }

  #lend(chooser: ServerChooser): void {
    const table = this.#table;
    const most = Math.min(chooser.lentMax, Math.floor((table.capacity - table.count) / LENT_PART));
    for (let n = Math.min(most - chooser.lentCount, LENT_PER_ADVANCE); n > 0; n--) {
      const record = table.lend();
      if (record < 0) return;
      chooser.lend(record, table.generation(record));
    }
  }

  #begin(service: VirtualService): void {
    if (this.#delegated.has(service) || service.isRemoved || !isDelegable(service)) return;
    const planned = plan(service, this.#chooser!.picksMax);
    if (planned === undefined) return;
    const choice = this.#chooser!.begin(planned.delegation);
    if (choice >= 0) this.#delegated.set(service, { choice, returned: [], ...planned });
  }

  #end(service: VirtualService): void {
    const delegated = this.#delegated.get(service);
    if (delegated === undefined) return;
    const taken = this.#chooser!.end(delegated.choice);
    this.#cached.catchUpChanges(); // what began is bound while everything is as it was
    this.#delegated.delete(service);
    const { delegation, positions } = delegated;
    if (delegation.kind === "sequence") service.scheduler.position = positions[placeIn(delegation, taken)]!;
  }

  readonly #began: BeginningSink = (record, server, flow, destination, port, replaced, generation) => {
    const table = this.#table;
    if (replaced >= 0 && table.isLive(replaced) && table.generation(replaced) === generation) {
      this.#cached.lapse(replaced);
      this.#bindings.remove(replaced);
    }
    // Another process may have had other numbers.
    const found =
      record >= 0
        ? this.#services.findNumber(server)
        : this.#services.find(flow)?.destinations.find((one) => one.hasAddress(destination, 0));
    const isKnown =
      found?.isAvailable === true &&
      found.hasAddress(destination, 0) &&
      (found.port === port || found.port === 0);
    // Two that look alike: the director's own is the older one.
    const isTwice = table.find(flow) >= 0 || this.#hasAnswer(flow, destination, port);
    if (!isKnown || isTwice) {
      if (record < 0) return -1;
      // As an entry for a moment, under which the cache finds what it has to forget.
      table.insert(flow, destination, port, 0, flow.sourcePort, server, record);
      this.#cached.withdraw(record);
      table.remove(record);
      return -1;
    }
    const made = this.#dispatcher.enter(flow, found, port, record);
    if (made < 0) return -1;
    if (record >= 0) this.#cached.enter(record);
    this.begunCount++;
    this.#onBegun();
    return made;
  };

  #hasAnswer({ family, protocol, words, sourcePort }: Flow, destination: Int32Array, port: number): boolean {
    return this.#table.hasTuple(family, protocol, destination, 0, words, 0, (port << 16) | sourcePort);
  }
}

function isDelegable(service: VirtualService): boolean {
  const { protocol, port, lastPort, templateTicks, isOnePacket, sources, hasProxyHeader, application } =
    service;
  if (service.mark !== 0 || (protocol !== Protocol.tcp && protocol !== Protocol.udp)) return false;
  if (port === 0 || lastPort !== port || templateTicks > 0 || isOnePacket || sources.length > 0) return false;
  if (hasProxyHeader || application !== undefined) return false;
  return service.destinations.every(
    ({ upperThreshold, isOverloaded }) => upperThreshold === 0 && !isOverloaded,
  );
}

/** The picks a scheduler makes from where it is; it is left where it was. @returns undefined: they cannot be foreseen */
function plan(service: VirtualService, picksMax: number): Omit<Delegated, "choice" | "returned"> | undefined {
  const { family, protocol, words, port, destinations, scheduler } = service;
  const targets = destinations.map((one) => {
    return { number: one.number, words: one.words, port: one.port === 0 ? port : one.port };
  });
  const rest = { family, protocol, words, port, targets };
  if (scheduler.buckets !== undefined) {
    const kind = scheduler.isPortHashed === true ? ("source-and-port" as const) : ("source" as const);
    const picks = scheduler.buckets(destinations).map((index) => destinations[index]?.number ?? -1);
    return { delegation: { ...rest, kind, picks, loopAt: 0 }, positions: [] };
  }
  if (scheduler.position === undefined) return undefined;
  const flow = new Flow();
  flow.family = family;
  flow.words.set(words, 4);
  const start = scheduler.position;
  const positions: number[] = [];
  const seen = new Map<number, number>();
  const picks: number[] = [];
  while (!seen.has(scheduler.position)) {
    seen.set(scheduler.position, positions.length);
    positions.push(scheduler.position);
    const picked = scheduler.pick(destinations, flow);
    if (picked === undefined || positions.length > picksMax) {
      scheduler.position = start;
      return undefined;
    }
    picks.push(picked.number);
  }
  const loopAt = seen.get(scheduler.position)!;
  scheduler.position = start;
  return { delegation: { ...rest, kind: "sequence", picks: Int32Array.from(picks), loopAt }, positions };
}

/** Which pick is next when so many were taken. */
function placeIn({ picks, loopAt }: Delegation, taken: number): number {
  return taken < picks.length ? taken : loopAt + ((taken - loopAt) % (picks.length - loopAt));
}

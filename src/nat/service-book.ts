/**
 * Services and destinations as they are configured now, and the removed destinations that connections still refer to.
 *
 * A removed destination is kept until its last connection is gone. Added again to the same service meanwhile, the same
 * object comes back with its connections and counters, as from IPVS's "trash". So do the destinations of connections that
 * were taken over from a process before: each begins as a removed one under its old number, until a configuration has it.
 */
import { parseAddress } from "../wire/address.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import type {
  DestinationConfig,
  MarkRule,
  SchedulerFlag,
  ServiceConfig,
  ServiceKey,
} from "./configuration.ts";
import type { Scheduler, SchedulerContext, SchedulerRegistry } from "./contracts/scheduler.ts";
import { Destination } from "./destination.ts";
import { DestinationDirectory } from "./destination-directory.ts";
import { MarkRules } from "./mark-rules.ts";
import type { MemoryPart } from "./memory-part.ts";
import { ServiceTable } from "./service-table.ts";
import type { PortReservation, SourceAddresses } from "./source-addresses.ts";
import { hashOfText } from "./text-hash.ts";
import { isSameService, nameOf, VirtualService } from "./virtual-service.ts";

/** Destinations that stand for "wherever the packet goes". */
const ANYWHERE: DestinationConfig = { address: "", port: 0, weight: 0, upperThreshold: 0, lowerThreshold: 0 };

const ANYWHERE_WORDS = new Int32Array(4);
const NO_SCHEDULER: Scheduler = { name: "none", pick: () => undefined };

/** What the director lends to its schedulers. */
export type SchedulerLoan = Omit<SchedulerContext, "flags">;

export class ServiceBook implements PortReservation {
  /** Told of destinations that are about to be removed, their connections and counters still as they were. */
  onRetire: ((destination: Destination) => void) | undefined;
  /** Told of a service that is about to change, its scheduler not yet; of all of them: undefined. */
  onChange: ((service?: VirtualService) => void) | undefined;
  readonly #schedulers: SchedulerRegistry;
  readonly #context: SchedulerLoan;
  readonly #sources: SourceAddresses;
  readonly #table = new ServiceTable();
  readonly #services: VirtualService[] = [];
  /** By number; a number is free when its place is undefined. Connection records hold these numbers. */
  readonly #destinations: (Destination | undefined)[] = [];
  readonly #freeNumbers: number[] = [];
  readonly #directory: DestinationDirectory | undefined;
  /** Removed services of destinations that were taken over, by name. */
  readonly #restoredServices = new Map<string, VirtualService>();
  /** Detached destinations that were taken over, by the hash of their masquerade rule. */
  readonly #restoredRules = new Map<number, Destination>();
  /** Services with a persistence engine, mark services apart: only for them are servers' own packets looked at. */
  #engineCount = 0;
  #hasMarks = false;

  /**
   * @param context - what the director lends to its schedulers
   * @param directory - where to write down what the numbers of destinations mean
   */
  constructor(
    schedulers: SchedulerRegistry,
    context: SchedulerLoan,
    sources: SourceAddresses,
    directory?: MemoryPart,
  ) {
    this.#schedulers = schedulers;
    this.#context = context;
    this.#sources = sources;
    this.#directory = directory && new DestinationDirectory(directory);
  }

  /** In the order they were added. */
  get all(): readonly VirtualService[] {
    return this.#services;
  }

  find(flow: Flow): VirtualService | undefined {
    return this.#table.find(flow);
  }

  isToVirtual(flow: Flow): boolean {
    return this.#table.isToVirtual(flow);
  }

  isFromVirtual(flow: Flow): boolean {
    return this.#table.isFromVirtual(flow);
  }

  /** Packets that the rules fit get marks from now on, and their destinations are virtual addresses. */
  setMarks(rules: readonly MarkRule[]): void {
    this.onChange?.();
    this.#hasMarks = rules.length > 0;
    this.#table.marks = new MarkRules(rules);
  }

  /** Might a packet be another service's than its address and port say? */
  get hasMarks(): boolean {
    return this.#hasMarks;
  }

  /** Has a service this port of a source address? Then no connection outwards may use it. */
  isReserved(protocol: number, number: number, port: number): boolean {
    const { words } = this.#sources;
    return this.#table.isServed(this.#sources.family(number), protocol, words, number * 4, port);
  }

  /** Has a service this very port of an address? @param at - of its four words */
  isServed(family: 4 | 6, protocol: number, words: Int32Array, at: number, port: number): boolean {
    return this.#table.isServed(family, protocol, words, at, port);
  }

  /** Is this the address and port of a server of some service of the flow's protocol? */
  isFromServer(flow: Flow): boolean {
    return this.#findServer(flow, false) !== undefined;
  }

  /** The server that sends this packet, of a service with a persistence engine that knows its connections too. */
  findEngineServer(flow: Flow): Destination | undefined {
    return this.#engineCount > 0 && flow.protocol === Protocol.udp ? this.#findServer(flow, true) : undefined;
  }

  #findServer(flow: Flow, hasEngine: boolean): Destination | undefined {
    for (let index = 0; index < this.#destinations.length; index++) {
      const destination = this.#destinations[index];
      if (
        destination?.isAvailable === true &&
        destination.port === flow.sourcePort &&
        (destination.service.mark !== 0 || destination.service.protocol === flow.protocol) &&
        destination.service.family === flow.family &&
        destination.hasAddress(flow.words, 0) &&
        (!hasEngine || (destination.service.hasEngine && destination.service.port !== 0))
      )
        return destination;
    }
    return undefined;
  }

  /** The destination with this number, which some connection holds. */
  destination(number: number): Destination {
    return this.#destinations[number]!;
  }

  /** Likewise, if there is one. */
  findNumber(number: number): Destination | undefined {
    return this.#destinations[number];
  }

  /** Every destination alive, removed ones with connections included. For a census. */
  *destinations(): Generator<Destination> {
    for (const destination of this.#destinations) if (destination !== undefined) yield destination;
  }

  /** The service that is configured under the same key. */
  findService(key: ServiceKey): VirtualService | undefined {
    return this.#services.find(({ attributes }) => isSameService(attributes, key));
  }

  /** @throws RangeError for what no parsed configuration contains: a bad address, an unknown scheduler, a duplicate. */
  addService({ destinations: _, ...attributes }: ServiceConfig): VirtualService {
    const name = nameOf(attributes);
    if (this.findService(attributes) !== undefined)
      throw new RangeError(`Cannot add service ${name}: it exists`);
    const scheduler = this.#makeScheduler(attributes.scheduler, attributes.schedulerFlags, name);
    const service = new VirtualService(attributes, scheduler);
    service.describe(attributes, this.holdSources(attributes.fullNat?.sources ?? []));
    this.#services.push(service);
    this.onChange?.(service);
    this.#table.add(service);
    this.#countEngines();
    return service;
  }

  /** Give a service other attributes; its key, destinations and connections stay. Templates keep their own timeout. */
  editService(service: VirtualService, { destinations: _, ...attributes }: ServiceConfig): void {
    const { scheduler, schedulerFlags = [] } = attributes;
    const { schedulerFlags: flagsBefore = [] } = service.attributes;
    this.onChange?.(service);
    if (service.scheduler.name !== scheduler || !isSameSet(flagsBefore, schedulerFlags))
      this.#changeScheduler(service, scheduler, schedulerFlags);
    const sources = this.holdSources(attributes.fullNat?.sources ?? []);
    this.releaseSources(service.sources);
    this.#table.remove(service);
    service.describe(attributes, sources);
    this.#table.add(service);
    this.#countEngines();
    for (const destination of service.destinations) this.#directory?.write(destination, 0);
  }

  /** Give a service another scheduler, which begins with the destinations as they are. */
  #changeScheduler(service: VirtualService, name: string, flags: readonly SchedulerFlag[]): void {
    const scheduler = this.#makeScheduler(name, flags, nameOf(service.attributes));
    service.scheduler.close?.();
    service.scheduler = scheduler;
    // It begins with the whole list, as IPVS's init_service: one by one wrr would begin at the oldest one's weight.
    if (service.destinations.length > 0) scheduler.changed?.("added", service.destinations, 0);
  }

  /** Connections of its destinations stay. */
  removeService(service: VirtualService): void {
    this.onChange?.(service);
    service.isRemoved = true;
    for (const destination of service.destinations.splice(0)) this.#retire(destination);
    service.scheduler.close?.();
    this.#table.remove(service);
    this.releaseSources(service.sources);
    this.#services.splice(this.#services.indexOf(service), 1);
    this.#countEngines();
  }

  /**
   * A destination of no service that is configured: what a masquerade rule's connections go to. They are drained.
   * @param rule - says which; one that was taken over comes back with its connections
   */
  addDetached(family: 4 | 6, rule?: string): Destination {
    const ruleHash = rule === undefined ? 0 : hashOfText(rule);
    const known = this.#restoredRules.get(ruleHash);
    this.#restoredRules.delete(ruleHash);
    if (known?.service.family === family && this.#destinations[known.number] === known) {
      this.#table.release(known.service);
      known.isAvailable = true;
      return known;
    }
    const destination = this.#create(noService(family), ANYWHERE, ANYWHERE_WORDS);
    destination.isDetached = true;
    this.#directory?.write(destination, ruleHash);
    return destination;
  }

  removeDetached(destination: Destination): void {
    this.#retire(destination);
  }

  /**
   * Addresses of the director's own: packets to them are its business until they are released as often.
   * @returns their numbers
   * @throws RangeError for what is no address, or one too many
   */
  holdSources(addresses: readonly string[]): Int32Array {
    return Int32Array.from(addresses, (address) => {
      const number = this.#sources.hold(address);
      this.#table.hold(this.#address(number));
      return number;
    });
  }

  releaseSources(sources: Int32Array): void {
    for (const number of sources) {
      this.#table.release(this.#address(number));
      this.#sources.release(number);
    }
  }

  /** @throws RangeError for a bad address or family, or a destination that exists. */
  addDestination(service: VirtualService, config: DestinationConfig): Destination {
    const name = `${config.address}:${config.port}`;
    const address = parseAddress(config.address);
    if (address?.family !== service.family)
      throw new RangeError(`Cannot add destination ${name}: expected an IPv${service.family} address`);
    if (this.findDestination(service, config) !== undefined)
      throw new RangeError(`Cannot add destination ${name}: it exists`);
    this.onChange?.(service);
    const destination = this.#revive(service, config) ?? this.#create(service, config, address.words);
    this.#directory?.write(destination, 0);
    service.destinations.unshift(destination);
    service.scheduler.changed?.("added", service.destinations, 0);
    return destination;
  }

  findDestination(
    service: VirtualService,
    config: Pick<DestinationConfig, "address" | "port">,
  ): Destination | undefined {
    return service.destinations.find((one) => one.address === config.address && one.port === config.port);
  }

  /** @returns false if nothing differed. */
  editDestination(service: VirtualService, destination: Destination, config: DestinationConfig): boolean {
    if (!destination.edit(config)) return false;
    this.onChange?.(service);
    service.scheduler.changed?.("edited", service.destinations, service.destinations.indexOf(destination));
    return true;
  }

  /**
   * The destination to which this number belonged in the process before, as one that was removed from its service.
   * @returns undefined when the directory does not know it
   */
  restore(number: number): Destination | undefined {
    const known = this.#destinations[number];
    if (known !== undefined) return known;
    const entry = this.#directory?.read(number);
    const address = entry && parseAddress(entry.address);
    if (entry === undefined || address === undefined) return undefined;
    const { family, service: key, port, ruleHash } = entry;
    const service = key === undefined ? noService(family) : this.#restoredService(key);
    const config = key === undefined ? ANYWHERE : { ...ANYWHERE, address: entry.address, port };
    const destination = new Destination(number, service, address.words, config);
    destination.isDetached = key === undefined;
    while (this.#destinations.length < number) this.#destinations.push(undefined);
    this.#destinations[number] = destination;
    if (ruleHash !== 0) this.#restoredRules.set(ruleHash, destination);
    this.#retire(destination, true);
    return destination;
  }

  /** All connections were taken over: what none of them needs is forgotten, and its numbers are free. */
  endTakeOver(): void {
    // The lowest are used first.
    for (let number = this.#destinations.length - 1; number >= 0; number--) {
      const destination = this.#destinations[number];
      if (destination === undefined) this.#freeNumbers.push(number);
      else if (!destination.isInUse) this.forget(destination);
    }
  }

  /**
   * The configuration is there: what was taken over and is none of its destinations was removed from its services, where they
   * still are.
   * @returns how many there are
   */
  adoptRemoved(): number {
    this.#restoredRules.clear();
    this.#restoredServices.clear();
    let count = 0;
    for (const destination of this.destinations()) {
      if (destination.isAvailable) continue;
      count++;
      const service = this.findService(destination.service.attributes);
      if (service === undefined || destination.isDetached) continue;
      this.#table.release(destination.service);
      this.#table.hold(service);
      destination.service = service;
    }
    return count;
  }

  /** Its connections stay; it is forgotten with the last of them. */
  removeDestination(service: VirtualService, destination: Destination): void {
    this.onChange?.(service);
    const index = service.destinations.indexOf(destination);
    service.destinations.splice(index, 1);
    service.scheduler.changed?.("removed", service.destinations, index);
    this.#retire(destination);
  }

  /** A removed destination lost its last connection. */
  forget(destination: Destination): void {
    this.#table.release(destination.service);
    this.#destinations[destination.number] = undefined;
    this.#freeNumbers.push(destination.number);
  }

  estimate(): void {
    for (const service of this.#services) service.traffic.estimate();
    for (const destination of this.#destinations) destination?.traffic.estimate();
  }

  zero(): void {
    for (const service of this.#services) service.traffic.zero();
    for (const destination of this.#destinations) destination?.traffic.zero();
  }

  #makeScheduler(name: string, flags: readonly SchedulerFlag[] = [], service: string): Scheduler {
    const factory = this.#schedulers[name];
    if (factory === undefined) {
      const known = Object.keys(this.#schedulers).join(", ");
      throw new RangeError(
        `Cannot schedule for ${service}: no scheduler "${name}", expected one of ${known}`,
      );
    }
    return factory({ ...this.#context, flags });
  }

  #countEngines(): void {
    this.#engineCount = this.#services.filter(({ hasEngine, mark }) => hasEngine && mark === 0).length;
  }

  #create(service: VirtualService, config: DestinationConfig, words: Int32Array): Destination {
    const number = this.#freeNumbers.pop() ?? this.#destinations.length;
    const destination = new Destination(number, service, words, config);
    this.#destinations[number] = destination;
    return destination;
  }

  #revive(service: VirtualService, config: DestinationConfig): Destination | undefined {
    const found = this.#destinations.find(
      (one) =>
        one !== undefined &&
        !one.isAvailable &&
        one.address === config.address &&
        one.port === config.port &&
        isSameService(one.service.attributes, service.attributes),
    );
    if (found === undefined) return undefined;
    this.#table.release(found.service);
    found.isAvailable = true;
    // Counters belong to the service: one made anew counts from zero, as in IPVS.
    if (found.service !== service) found.traffic.zero();
    found.service = service;
    found.edit(config);
    const { connectionCount, upperThreshold } = found;
    if (upperThreshold !== 0 && connectionCount >= upperThreshold) found.isOverloaded = true;
    return found;
  }

  #retire(destination: Destination, isToBeUsed = false): void {
    this.onRetire?.(destination);
    destination.isAvailable = false;
    // Its connections' virtual address stays ours, whatever becomes of the service.
    this.#table.hold(destination.service);
    if (!destination.isInUse && !isToBeUsed) this.forget(destination);
  }

  #restoredService(key: ServiceKey): VirtualService {
    const name = nameOf(key);
    let service = this.#restoredServices.get(name);
    if (service === undefined) {
      service = new VirtualService({ ...key, scheduler: NO_SCHEDULER.name }, NO_SCHEDULER);
      service.isRemoved = true;
      this.#restoredServices.set(name, service);
    }
    return service;
  }

  #address(number: number): Pick<VirtualService, "family" | "words"> {
    const words = this.#sources.words.slice(number * 4, number * 4 + 4);
    return { family: this.#sources.family(number), words };
  }
}

/** In the place of a service where there is none. */
const noService = (family: 4 | 6): VirtualService =>
  new VirtualService(
    { protocol: "fwmark", address: family === 4 ? "0.0.0.0" : "::", port: 0, scheduler: "none" },
    NO_SCHEDULER,
  );

const isSameSet = <T>(one: readonly T[], other: readonly T[]): boolean =>
  one.every((item) => other.includes(item)) && other.every((item) => one.includes(item));

/**
 * Services and destinations as they are configured now, and the removed destinations that connections still refer to.
 *
 * A removed destination is kept until its last connection is gone. Added again to the same service meanwhile, the same
 * object comes back with its connections and counters, as from IPVS's "trash".
 */
import { parseAddress } from "../wire/address.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import type { DestinationConfig, SchedulerFlag, ServiceConfig, ServiceProtocol } from "./configuration.ts";
import type { Scheduler, SchedulerContext, SchedulerRegistry } from "./contracts/scheduler.ts";
import { Destination } from "./destination.ts";
import { ServiceTable } from "./service-table.ts";
import { VirtualService } from "./virtual-service.ts";

const PROTOCOL_NUMBER: Readonly<Record<ServiceProtocol, number>> = {
  tcp: Protocol.tcp,
  udp: Protocol.udp,
  sctp: Protocol.sctp,
};

export class ServiceBook {
  readonly #schedulers: SchedulerRegistry;
  readonly #context: Pick<SchedulerContext, "now" | "randomU32">;
  readonly #table = new ServiceTable();
  readonly #services: VirtualService[] = [];
  /** By number; a number is free when its place is undefined. Connection records hold these numbers. */
  readonly #destinations: (Destination | undefined)[] = [];
  readonly #freeNumbers: number[] = [];

  /** @param context - what the director lends to its schedulers */
  constructor(schedulers: SchedulerRegistry, context: Pick<SchedulerContext, "now" | "randomU32">) {
    this.#schedulers = schedulers;
    this.#context = context;
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

  /** The destination with this number, which some connection holds. */
  destination(number: number): Destination {
    return this.#destinations[number]!;
  }

  /** Every destination alive, removed ones with connections included. For a census. */
  *destinations(): Generator<Destination> {
    for (const destination of this.#destinations) if (destination !== undefined) yield destination;
  }

  /** The service that is configured at the same protocol, address and port. */
  findService(config: Pick<ServiceConfig, "protocol" | "address" | "port">): VirtualService | undefined {
    return this.#services.find(
      (service) =>
        service.protocolName === config.protocol &&
        service.address === config.address &&
        service.port === config.port,
    );
  }

  /** @throws RangeError for what no parsed configuration contains: a bad address, an unknown scheduler, a duplicate. */
  addService(config: ServiceConfig): VirtualService {
    const name = `${config.protocol} ${config.address}:${config.port}`;
    const address = parseAddress(config.address);
    if (address === undefined) throw new RangeError(`Cannot add service ${name}: not an IP address`);
    if (this.findService(config) !== undefined) throw new RangeError(`Cannot add service ${name}: it exists`);
    const service = new VirtualService(
      config.protocol,
      PROTOCOL_NUMBER[config.protocol],
      address.family,
      config.address,
      address.words,
      config.port,
      this.#makeScheduler(config.scheduler, config.schedulerFlags, name),
    );
    service.schedulerFlags = config.schedulerFlags ?? [];
    this.#services.push(service);
    this.#table.add(service);
    return service;
  }

  /** Give a service another scheduler, which begins with the destinations as they are. */
  changeScheduler(service: VirtualService, name: string, flags: readonly SchedulerFlag[] = []): void {
    const scheduler = this.#makeScheduler(name, flags, service.address);
    service.scheduler = scheduler;
    service.schedulerFlags = flags;
    // It begins with the whole list, as IPVS's init_service: one by one wrr would begin at the oldest one's weight.
    if (service.destinations.length > 0) scheduler.changed?.("added", service.destinations, 0);
  }

  /** Connections of its destinations stay. */
  removeService(service: VirtualService): void {
    for (const destination of service.destinations.splice(0)) this.#retire(destination);
    this.#table.remove(service);
    this.#services.splice(this.#services.indexOf(service), 1);
  }

  /** @throws RangeError for a bad address or family, or a destination that exists. */
  addDestination(service: VirtualService, config: DestinationConfig): Destination {
    const name = `${config.address}:${config.port}`;
    const address = parseAddress(config.address);
    if (address?.family !== service.family)
      throw new RangeError(`Cannot add destination ${name}: expected an IPv${service.family} address`);
    if (this.findDestination(service, config) !== undefined)
      throw new RangeError(`Cannot add destination ${name}: it exists`);
    const destination = this.#revive(service, config) ?? this.#create(service, address.words, config);
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
    service.scheduler.changed?.("edited", service.destinations, service.destinations.indexOf(destination));
    return true;
  }

  /** Its connections stay; it is forgotten with the last of them. */
  removeDestination(service: VirtualService, destination: Destination): void {
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
    return factory({ flags, randomU32: this.#context.randomU32, now: this.#context.now });
  }

  #create(service: VirtualService, words: Int32Array, config: DestinationConfig): Destination {
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
        one.service.protocol === service.protocol &&
        one.service.address === service.address &&
        one.service.port === service.port,
    );
    if (found === undefined) return undefined;
    this.#table.release(found.service);
    found.isAvailable = true;
    found.service = service;
    found.edit(config);
    return found;
  }

  #retire(destination: Destination): void {
    destination.isAvailable = false;
    // Its connections' virtual address stays ours, whatever becomes of the service.
    this.#table.hold(destination.service);
    if (destination.connectionCount === 0) this.forget(destination);
  }
}

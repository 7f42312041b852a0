/** One real server's membership in one virtual service: weight, thresholds, live connections, counters. */
import { isSameAddress } from "../wire/address.ts";
import type { DestinationConfig } from "./configuration.ts";
import { Traffic } from "./traffic.ts";
import type { VirtualService } from "./virtual-service.ts";

export class Destination {
  /** By which connection entries refer to it. */
  readonly number: number;
  /** Its service, which may be gone while connections live. */
  service: VirtualService;
  readonly address: string;
  /** Address in host-order words; IPv4 uses the first. */
  readonly words: Int32Array;
  /** 0: the port the client asked for. */
  readonly port: number;
  weight: number;
  /** Last weight above zero, for mh. */
  lastWeight = 0;
  upperThreshold: number;
  lowerThreshold: number;
  activeConnections = 0;
  inactiveConnections = 0;
  /** Templates that pin clients to it; not counted as connections. */
  persistentConnections = 0;
  /** Upper threshold reached and not yet below the lower one. */
  isOverloaded = false;
  /** False once it was removed from its service; it lives on while connections refer to it. */
  isAvailable = true;
  /** Of no service: it stands for the outside. */
  isDetached = false;
  /** Largest packet towards it, 0 when not known. */
  mtuBytes = 0;
  readonly traffic = new Traffic();

  constructor(number: number, service: VirtualService, words: Int32Array, config: DestinationConfig) {
    this.number = number;
    this.service = service;
    this.address = config.address;
    this.words = words;
    this.port = config.port;
    this.weight = config.weight;
    this.lastWeight = config.weight;
    this.upperThreshold = config.upperThreshold;
    this.lowerThreshold = config.lowerThreshold;
  }

  get connectionCount(): number {
    return this.activeConnections + this.inactiveConnections;
  }

  /** Is this its address? @param at - of four words */
  hasAddress(words: Int32Array, at: number): boolean {
    return isSameAddress(this.words, 0, words, at);
  }

  /** Does anything still refer to it? */
  get isInUse(): boolean {
    return this.connectionCount > 0 || this.persistentConnections > 0;
  }

  /** Weight and thresholds anew. @returns true if anything differed. */
  edit(config: DestinationConfig): boolean {
    const { weight, upperThreshold, lowerThreshold } = config;
    const isSame =
      weight === this.weight &&
      upperThreshold === this.upperThreshold &&
      lowerThreshold === this.lowerThreshold;
    if (isSame) return false;
    if (upperThreshold === 0 || upperThreshold > this.upperThreshold) this.isOverloaded = false;
    this.weight = weight;
    if (weight > 0) this.lastWeight = weight;
    this.upperThreshold = upperThreshold;
    this.lowerThreshold = lowerThreshold;
    return true;
  }

  /** A new connection, inactive until its state machine says otherwise. */
  bind(): void {
    this.inactiveConnections++;
    if (this.upperThreshold !== 0 && this.connectionCount >= this.upperThreshold) this.isOverloaded = true;
  }

  /** A connection ended. @param wasInactive - which of the two counters it was in */
  unbind(wasInactive: boolean): void {
    if (wasInactive) this.inactiveConnections--;
    else this.activeConnections--;
    if (this.lowerThreshold !== 0) {
      if (this.connectionCount < this.lowerThreshold) this.isOverloaded = false;
    } else if (this.upperThreshold !== 0) {
      if (this.connectionCount * 4 < this.upperThreshold * 3) this.isOverloaded = false;
    } else {
      this.isOverloaded = false;
    }
  }

  /** A connection changed between active and inactive. */
  move(isInactiveNow: boolean): void {
    const step = isInactiveNow ? 1 : -1;
    this.inactiveConnections += step;
    this.activeConnections -= step;
  }
}

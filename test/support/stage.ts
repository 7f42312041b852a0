/**
 * A director to play packets at: one call per packet, a manual clock, and after every packet a look at what left.
 * The packets come from packet-builder.ts, what leaves is judged by packet-check.ts and census.ts.
 */
import { APPLICATIONS } from "../../src/alg/registry.ts";
import { type Milliseconds, milliseconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { type Change, DirectorControl } from "../../src/control/director-control.ts";
import type { ConnectionStatus } from "../../src/control/director-status.ts";
import type { DirectorConfig, DirectorSettings, ServiceConfig } from "../../src/nat/configuration.ts";
import { Director, type DirectorOptions } from "../../src/nat/director.ts";
import { DROP_REASONS, type DropReason } from "../../src/nat/drop-reason.ts";
import { VERDICT_KINDS } from "../../src/nat/verdict.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";
import { Fragmenter } from "../../src/wire/fragment.ts";
import { type Gso, Packet } from "../../src/wire/packet.ts";
import { IPVS_SETTINGS } from "./replayed.ts";

export interface Sent {
  /** "to-server", "reply", ...; a drop by its reason: "drop table-full". */
  readonly verdict: string;
  /** What leaves: one packet, none, or several fragments. */
  readonly out: readonly Uint8Array[];
  /** The first of them, for the usual case of one. */
  readonly bytes: Uint8Array;
}

/** How a packet comes out of a device with offloads. */
export interface Offload {
  readonly isChecksumPartial?: boolean;
  readonly gso?: Gso;
  readonly gsoBytes?: number;
}

export type StageOptions = Partial<DirectorSettings> &
  Partial<Pick<DirectorOptions, "hopChange" | "randomU32" | "now" | "applications" | "memory">>;

export class Stage {
  readonly director: Director;
  readonly control: DirectorControl;
  readonly packet = new Packet();
  #nowMs: number;
  readonly #settings: DirectorSettings;
  readonly #piece = new Packet();
  readonly #fragmenter = new Fragmenter();

  /** Settings default to IPVS_SETTINGS, the rest to a router of its own at time 0 under a fixed seed. */
  constructor(services: readonly ServiceConfig[], options: StageOptions = {}) {
    const {
      hopChange = -1,
      randomU32 = seededRandom(42),
      now = milliseconds(0),
      applications = APPLICATIONS,
      memory,
      ...settings
    } = options;
    this.#nowMs = now;
    this.director = new Director({
      settings: { ...IPVS_SETTINGS, ...settings },
      schedulers: SCHEDULERS,
      applications,
      randomU32,
      hopChange,
      now,
      ...(memory !== undefined && { memory }),
    });
    this.control = new DirectorControl(this.director);
    this.#settings = { ...IPVS_SETTINGS, ...settings };
    for (const one of services) this.director.addService(one);
  }

  get now(): Milliseconds {
    return milliseconds(this.#nowMs);
  }

  /** Other services, and whatever else is given; the settings are those of the start unless `rest` has others. */
  apply(services: readonly ServiceConfig[], rest: Partial<Omit<DirectorConfig, "services">> = {}): Change[] {
    return this.control.apply({ marks: [], masquerade: [], settings: this.#settings, ...rest, services });
  }

  /** Let the director see one packet, now. */
  send(bytes: Uint8Array, offload: Offload = {}): Sent {
    const { packet } = this;
    if (!packet.load(bytes)) throw new Error(`a packet of ${bytes.length} bytes does not fit`);
    Object.assign(packet, offload);
    const verdict = this.director.receive(packet, this.now);
    if (verdict.kind === "drop") return { verdict: `drop ${verdict.reason}`, out: [], bytes: NONE };
    if (verdict.kind === "held") return { verdict: verdict.kind, out: [], bytes: NONE };
    const out = this.#transmit();
    return { verdict: verdict.kind, out, bytes: out[0] ?? NONE };
  }

  /** Let time pass without telling the director, as between two packets of a quiet line. */
  wait(ms: number): void {
    this.#nowMs += ms;
  }

  /** Let time pass, with the director's timers running every 100 ms. */
  run(ms: number): void {
    const end = this.#nowMs + ms;
    while (this.#nowMs < end) {
      this.#nowMs = Math.min(end, this.#nowMs + 100);
      this.director.advance(this.now);
    }
  }

  connections(): ConnectionStatus[] {
    return this.control.connections(this.now, 1 << 20);
  }

  count(reason: DropReason): number {
    return this.director.verdictCounts[VERDICT_KINDS.length + DROP_REASONS.indexOf(reason)]!;
  }

  #transmit(): Uint8Array[] {
    const { packet } = this;
    const pieceBytes = packet.fragmentBytesMax;
    if (pieceBytes === 0 || packet.length <= pieceBytes) return [packet.toBytes().slice()];
    const pieces: Uint8Array[] = [];
    if (!this.#fragmenter.start(packet, pieceBytes)) throw new Error("a packet to be cut cannot be cut");
    while (this.#fragmenter.next(this.#piece)) pieces.push(this.#piece.toBytes().slice());
    return pieces;
  }
}

const NONE = new Uint8Array(0);

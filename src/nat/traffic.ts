/**
 * Counters of one destination, one service or the whole director, and the 2-second rate estimator of Linux IPVS
 * (net/netfilter/ipvs/ip_vs_est.c): an average with weight 1/4 in integer arithmetic, scaled by 2^10 for connections
 * and packets and by 2^5 for bytes. Doubles hold the integers exactly up to 2^53.
 */
export const Quantity = { connections: 0, inPackets: 1, outPackets: 2, inBytes: 3, outBytes: 4 } as const;
const QUANTITY_COUNT = 5;

/** Seconds between two runs of the estimator. */
export const ESTIMATE_INTERVAL_MS = 2000;

/** Growth over two seconds x this = per-second value, scaled. */
const SAMPLE_FACTOR = [512, 512, 512, 16, 16] as const;
const SCALE = [1024, 1024, 1024, 32, 32] as const;
const ROUNDING = [511, 511, 511, 15, 15] as const;

export class Traffic {
  readonly #counts = new Float64Array(QUANTITY_COUNT);
  readonly #countsBefore = new Float64Array(QUANTITY_COUNT);
  readonly #averages = new Float64Array(QUANTITY_COUNT);

  countConnection(): void {
    this.#counts[Quantity.connections]!++;
  }

  /** A packet from client to server. @param bytes - the IP packet, headers included */
  countIn(bytes: number): void {
    this.#counts[Quantity.inPackets]!++;
    this.#counts[Quantity.inBytes]! += bytes;
  }

  countOut(bytes: number): void {
    this.#counts[Quantity.outPackets]!++;
    this.#counts[Quantity.outBytes]! += bytes;
  }

  /** Things counted elsewhere. */
  add(quantity: number, amount: number): void {
    this.#counts[quantity]! += amount;
  }

  count(quantity: number): number {
    return this.#counts[quantity]!;
  }

  /** Smoothed value per second. */
  rate(quantity: number): number {
    return Math.floor((this.#averages[quantity]! + ROUNDING[quantity]!) / SCALE[quantity]!);
  }

  /** To be called every ESTIMATE_INTERVAL_MS. */
  estimate(): void {
    for (let i = 0; i < QUANTITY_COUNT; i++) {
      const sample = (this.#counts[i]! - this.#countsBefore[i]!) * SAMPLE_FACTOR[i]!;
      this.#countsBefore[i] = this.#counts[i]!;
      this.#averages[i]! += Math.floor((sample - this.#averages[i]!) / 4);
    }
  }

  /** Counters and rates back to zero, as `ipvsadm -Z` does. */
  zero(): void {
    this.#counts.fill(0);
    this.#countsBefore.fill(0);
    this.#averages.fill(0);
  }
}

/** A token bucket for replies the director makes itself, so that it cannot be used to answer forged floods. */
export class ReplyLimit {
  /** Replies a second, and the burst allowed after quiet times. */
  perSecond: number;
  #tokens: number;
  #lastMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.#tokens = perSecond;
    this.#lastMs = nowMs;
  }

  /** @returns true if one more reply may be sent now. */
  take(nowMs: number): boolean {
    const elapsedMs = nowMs - this.#lastMs;
    if (elapsedMs > 0) {
      this.#tokens = Math.min(this.perSecond, this.#tokens + (elapsedMs * this.perSecond) / 1000);
      this.#lastMs = nowMs;
    }
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/**
 * A bell between threads: whoever wants the packet loop's attention rings it, the loop polls it beside its device.
 * An eventfd, so any number of rings before the loop looks count as one. File descriptors belong to the process, so the
 * number can be sent to another thread.
 */
import {
  addressOf,
  close,
  EINTR,
  eventfd,
  expectSuccess,
  POLLIN,
  poll,
  read,
  write,
} from "../system-call.ts";

const COUNTER_BYTES = 8;
/** Of a struct pollfd, behind the two counters. */
const POLL_AT = 64;

export class Wake {
  readonly descriptor: number;
  /** A counter of one to add, and room for the counter to clear: 8 bytes each. */
  readonly #bytes = new Uint8Array(128);
  readonly #at = addressOf(this.#bytes);

  /** @param descriptor - of a bell made in another thread; by default a new one. */
  constructor(descriptor: number = expectSuccess(eventfd(), "eventfd", "make a bell for the packet loop")) {
    this.descriptor = descriptor;
    new BigUint64Array(this.#bytes.buffer)[0] = 1n; // host order
  }

  ring(): void {
    write(this.descriptor, this.#at, COUNTER_BYTES);
  }

  /** Wait until it rings. Blocks this thread. */
  wait(): void {
    const descriptors = new Int32Array(this.#bytes.buffer, POLL_AT, 2);
    descriptors[0] = this.descriptor;
    descriptors[1] = POLLIN;
    let result = poll(this.#at + POLL_AT, 1, -1);
    while (result === -EINTR) result = poll(this.#at + POLL_AT, 1, -1);
    expectSuccess(result, "poll", "wait for the bell");
  }

  /** Stop ringing. Call before looking at what there is to do, so that a ring in between is not lost. */
  clear(): void {
    read(this.descriptor, this.#at + COUNTER_BYTES, COUNTER_BYTES);
  }

  /** By the thread that made it, when nobody uses the number any more. */
  close(): void {
    close(this.descriptor);
  }
}

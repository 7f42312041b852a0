/**
 * The option lists of IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.2), which share one form: kind 0 ends the
 * list, kind 1 is a single byte of padding, every other kind is followed by a length that counts both octets.
 *
 * One reusable walk, no allocation:
 *
 *     for (walk.start(view, optionsAt, optionsEnd); walk.next(); ) if (walk.is(TcpOption.mss, 4)) ...
 */
const END = 0;
const NO_OPERATION = 1;

const EMPTY = new DataView(new ArrayBuffer(0));

export class OptionWalk {
  #view: DataView = EMPTY;
  #nextAt = 0;
  #end = 0;
  /** Offset of the current option's kind octet. */
  at = 0;
  kind = 0;
  /** Bytes of the current option, kind and length octets included: 1 for padding. */
  lengthBytes = 0;
  /** True once the list turned out to be broken: a length below 2 or beyond the end. The walk stops there. */
  isMalformed = false;

  /** Begin before the first option; [from, end) must lie inside `view`. */
  start(view: DataView, from: number, end: number): void {
    this.#view = view;
    this.#nextAt = from;
    this.#end = end;
    this.isMalformed = false;
  }

  /** Step to the next option. False at the end of the list, at kind 0 and at a malformed option. */
  next(): boolean {
    if (this.#nextAt >= this.#end) return false;
    const at = this.#nextAt;
    const kind = this.#view.getUint8(at);
    let lengthBytes = 1;
    if (kind === END) {
      this.#nextAt = this.#end;
      return false;
    }
    if (kind !== NO_OPERATION) {
      lengthBytes = at + 1 < this.#end ? this.#view.getUint8(at + 1) : 0;
      if (lengthBytes < 2 || at + lengthBytes > this.#end) {
        this.isMalformed = true;
        this.#nextAt = this.#end;
        return false;
      }
    }
    this.at = at;
    this.kind = kind;
    this.lengthBytes = lengthBytes;
    this.#nextAt = at + lengthBytes;
    return true;
  }

  /** True when the current option is of this kind and exactly this long, so that its fields can be read at `at + 2`. */
  is(kind: number, lengthBytes: number): boolean {
    return this.kind === kind && this.lengthBytes === lengthBytes;
  }
}

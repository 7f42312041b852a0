/**
 * SNMP, as far as a translator can be of use to it without knowing objects (RFC 2962, "basic"): values of the type IpAddress
 * (RFC 2578 section 7.1.5) that are the sender's own become what is shown of him. In answers and traps of versions 1 (RFC 1157) and
 * 2c (RFC 3416, in messages of RFC 1901), agent-addr of traps included. BER by X.690.
 *
 * Left out, as in Linux: version 3, which is authenticated; addresses inside object identifiers, as in the indexes of tables,
 * and in octet strings; requests, whose values are names of what is asked for.
 */
import type { ApplicationModule } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";

const Tag = {
  integer: 0x02,
  octetString: 0x04,
  sequence: 0x30,
  ipAddress: 0x40,
  objectIdentifier: 0x06,
  timeTicks: 0x43,
} as const;
const TRAP_V1 = 0xa4;
/** Messages that say something: Response, InformRequest and SNMPv2-Trap. */
const TELLING: readonly number[] = [0xa2, 0xa6, 0xa7];
const VERSION_2C = 1;
const ADDRESS_BYTES = 4;
/** A datagram may have more of them than changes can be remembered. */
const CHANGES_MAX = 100;

export const snmp: ApplicationModule = {
  name: "snmp",
  transports: ["udp"],
  ports: [161, 162],
  expectationsMax: 0,
  read(unit, from, dialogue) {
    const own = dialogue.ownWord(from);
    const shown = dialogue.shownWord(from);
    if (dialogue.family === 4 && own !== shown) translate(unit, own, shown);
  },
};

/** Write `shown` in the place of each IpAddress that is `own`. */
function translate(unit: Unit, own: number, shown: number): void {
  const ber = new Ber(unit);
  let changes = 0;
  const change = (at: number): void => {
    if ((unit.u32(at) | 0) !== own || changes === CHANGES_MAX) return;
    unit.put32(at, shown);
    changes++;
  };
  const binding = (): void => {
    if (ber.skip(Tag.objectIdentifier)) ber.address(change);
  };
  const bindings = (): void => {
    while (ber.within(Tag.sequence, binding));
  };
  const told = (): void => {
    // request-id, error-status, error-index
    for (let i = 0; i < 3; i++) if (!ber.skip(Tag.integer)) return;
    ber.within(Tag.sequence, bindings);
  };
  const trap = (): void => {
    // enterprise, agent-addr, generic-trap, specific-trap, time-stamp
    if (!ber.skip(Tag.objectIdentifier) || !ber.address(change)) return;
    if (!ber.skip(Tag.integer) || !ber.skip(Tag.integer) || !ber.skip(Tag.timeTicks)) return;
    ber.within(Tag.sequence, bindings);
  };
  ber.within(Tag.sequence, () => {
    if (ber.small(Tag.integer) > VERSION_2C || !ber.skip(Tag.octetString)) return;
    const kind = unit.u8(ber.at);
    if (kind === TRAP_V1) ber.within(kind, trap);
    else if (TELLING.includes(kind)) ber.within(kind, told);
  });
}

/** Walks over tags, lengths and values, and never beyond the value around it. */
class Ber {
  /** Offset of the next tag. */
  at = 0;
  #end: number;
  readonly #unit: Unit;

  constructor(unit: Unit) {
    this.#unit = unit;
    this.#end = unit.length;
  }

  /** Read what is in the value with this tag, and go behind it. @returns false: there is none here */
  within(tag: number, read: () => void): boolean {
    const length = this.#length(tag);
    if (length < 0) return false;
    const end = this.#end;
    const after = this.at + length;
    this.#end = after;
    read();
    this.#end = end;
    this.at = after;
    return true;
  }

  /** Go behind it. */
  skip(tag: number): boolean {
    const length = this.#length(tag);
    if (length < 0) return false;
    this.at += length;
    return true;
  }

  /** A number of one byte, 0..255; infinite if there is none. */
  small(tag: number): number {
    if (this.#length(tag) !== 1) return Number.POSITIVE_INFINITY;
    return this.#unit.u8(this.at++);
  }

  address(found: (at: number) => void): boolean {
    if (this.#length(Tag.ipAddress) !== ADDRESS_BYTES) return false;
    found(this.at);
    this.at += ADDRESS_BYTES;
    return true;
  }

  /** Go behind tag and length. @returns bytes of the value; -1: another tag, or a length that lies */
  #length(tag: number): number {
    const unit = this.#unit;
    const { at } = this;
    if (unit.u8(at) !== tag) return -1;
    const first = unit.u8(at + 1);
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    // 0x80 is of an unknown end, which SNMP does not have.
    if (first < 0 || first === 0x80 || lengthBytes > 4) return -1;
    let length = lengthBytes === 0 ? first : 0;
    for (let i = 0; i < lengthBytes; i++) length = length * 256 + unit.u8(at + 2 + i);
    const valueAt = at + 2 + lengthBytes;
    if (length < 0 || valueAt + length > this.#end) return -1;
    this.at = valueAt;
    return length;
  }
}

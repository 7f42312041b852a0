/**
 * The audit: a packet that the kernel rewrote is rewritten once more by the director's own code, and the two must agree.
 * Only headers are looked at, which is all that changes.
 */
import type { ConnectionTable } from "../../nat/connection-table.ts";
import { changeHops, rewrite } from "../../nat/rewrite.ts";
import { Flow } from "../../wire/flow.ts";
import { Packet } from "../../wire/packet.ts";
import { Audit } from "./maps/layout.ts";

export interface Mismatch {
  readonly record: number;
  readonly direction: 0 | 1;
  /** Headers as they came, as the kernel wrote them and as the director would have; hexadecimal. */
  readonly before: string;
  readonly kernel: string;
  readonly director: string;
}

const IPV4_LENGTH_AT = 2;
const IPV6_LENGTH_AT = 4;
const IPV6_BYTES = 40;

export class Auditor {
  auditedCount = 0;
  readonly #table: ConnectionTable;
  readonly #packet = new Packet();
  readonly #flow = new Flow();

  constructor(table: ConnectionTable) {
    this.#table = table;
  }

  /** @param at - where in `data` the kernel's copy begins (Audit) @returns what is wrong, if anything is */
  judge(data: DataView, at: number): Mismatch | undefined {
    const table = this.#table;
    const record = data.getUint32(at + Audit.at.record, true);
    const generation = data.getInt32(at + Audit.at.generation, true);
    // It has ended meanwhile: there is nothing to compare with.
    if (!table.isLive(record) || table.generation(record) !== generation) return undefined;
    const direction = data.getUint16(at + Audit.at.direction, true) as 0 | 1;
    const length = data.getUint16(at + Audit.at.headerBytes, true);
    const bytes = (from: number): Uint8Array =>
      new Uint8Array(data.buffer, data.byteOffset + at + from, length);
    const before = bytes(Audit.at.before);
    const kernel = bytes(Audit.at.after);
    this.auditedCount++;
    // Whether the checksum was a partial one is not known here: it must be right for one of the two.
    const director = this.#rewritten(before, record, direction, false);
    if (isSame(director, kernel)) return undefined;
    if (isSame(this.#rewritten(before, record, direction, true), kernel)) return undefined;
    return { record, direction, before: hex(before), kernel: hex(kernel), director: hex(director) };
  }

  #rewritten(headers: Uint8Array, record: number, direction: 0 | 1, isPartial: boolean): Uint8Array {
    const table = this.#table;
    const packet = this.#packet;
    packet.load(headers);
    packet.isChecksumPartial = isPartial;
    const { view, at } = packet;
    const isIpv4 = view.getUint8(at) >> 4 === 4;
    // The payload is not here, and nothing reads it.
    packet.length = isIpv4
      ? view.getUint16(at + IPV4_LENGTH_AT)
      : IPV6_BYTES + view.getUint16(at + IPV6_LENGTH_AT);
    const flow = this.#flow;
    if (flow.dissect(packet) === "ok") {
      changeHops(packet, flow.family, -1);
      const { words } = table;
      if (direction === 0) {
        const source = table.source(record);
        const sources = source === 0 ? flow.words : table.sourceWords;
        const [to, port] = [table.destinationAt(record), table.destinationPort(record)];
        rewrite(packet, flow, sources, source * 4, table.sourcePort(record), words, to, port);
      } else {
        const [from, port] = [table.virtualAt(record), table.virtualPort(record)];
        rewrite(packet, flow, words, from, port, words, table.clientAt(record), table.clientPort(record));
      }
    }
    return packet.bytes.slice(at, at + headers.length);
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, index) => byte === b[index]);
const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

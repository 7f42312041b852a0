/**
 * Netlink messages and their attributes (RFC 3549 section 2; Linux: include/uapi/linux/netlink.h), written and read.
 * Everything is in host order, little-endian here; addresses alone are bytes in network order.
 *
 *      0               4       6       8               12              16
 *     +---------------+-------+-------+---------------+---------------+------------------+-----------
 *     | length        | type  | flags | sequence      | port          | family header    | attributes
 *     +---------------+-------+-------+---------------+---------------+------------------+-----------
 *
 * An attribute is a 16-bit length (its own four bytes included), a 16-bit type, a value, and padding to four bytes.
 */

import { type Address, type Family, formatAddress, parseAddress } from "../../../wire/address.ts";
import { AF_INET, AF_INET6 } from "../../system-call.ts";

export const MESSAGE_HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** Bits 14 and 15 say "nested" and "network order"; they are no part of the type. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;
/** NLM_F_MULTI of an answer. */
const MULTIPART = 0x2;
const WRITER_BYTES = 4096;

/** Flags of a request (NLM_F_*). */
export const RequestFlag = {
  request: 0x1,
  acknowledge: 0x4,
  exclusive: 0x200,
  create: 0x400,
  dump: 0x300,
} as const;

export const toKernelFamily = (family: Family): number => (family === 4 ? AF_INET : AF_INET6);
/** undefined: a family that is neither. */
export const fromKernelFamily = (family: number): Family | undefined =>
  family === AF_INET ? 4 : family === AF_INET6 ? 6 : undefined;

/** Builds one request; the kernel's replies carry its sequence number. */
export class MessageWriter {
  readonly #bytes = new Uint8Array(WRITER_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  #end = MESSAGE_HEADER_BYTES;

  /** @param flags - RequestFlag bits besides `request`. */
  constructor(type: number, flags: number) {
    this.#view.setUint16(4, type, true);
    this.#view.setUint16(6, flags | RequestFlag.request, true);
  }

  u8(...values: number[]): this {
    for (const value of values) this.#view.setUint8(this.#end++, value);
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#end, value, true);
    this.#end += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#end, value, true);
    this.#end += 4;
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    this.u16(ATTRIBUTE_HEADER_BYTES + value.length).u16(type);
    this.#bytes.set(value, this.#end);
    this.#end += (value.length + 3) & ~3;
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.attribute(type, Uint8Array.of(value));
  }

  attributeU32(type: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, true);
    return this.attribute(type, bytes);
  }

  /** Zero-terminated. */
  attributeText(type: number, text: string): this {
    return this.attribute(type, new TextEncoder().encode(`${text}\0`));
  }

  attributeAddress(type: number, address: string): this {
    return this.attribute(type, addressToBytes(address));
  }

  /** @returns the message, complete. */
  finish(sequence: number): Uint8Array {
    this.#view.setUint32(0, this.#end, true);
    this.#view.setUint32(8, sequence, true);
    return this.#bytes.subarray(0, this.#end);
  }
}

export interface NetlinkMessage {
  readonly type: number;
  /** One of several that answer a request. */
  readonly isMultipart: boolean;
  readonly sequence: number;
  /** Family header and attributes. */
  readonly body: DataView;
}

/** Split what one receive brought. A message that claims more than there is ends the list. */
export function splitMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + MESSAGE_HEADER_BYTES <= bytes.length) {
    const length = view.getUint32(at, true);
    if (length < MESSAGE_HEADER_BYTES || at + length > bytes.length) break;
    messages.push({
      type: view.getUint16(at + 4, true),
      isMultipart: (view.getUint16(at + 6, true) & MULTIPART) !== 0,
      sequence: view.getUint32(at + 8, true),
      body: new DataView(
        bytes.buffer,
        bytes.byteOffset + at + MESSAGE_HEADER_BYTES,
        length - MESSAGE_HEADER_BYTES,
      ),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** The attributes behind a family header, or inside another attribute; the last of each type. */
export class Attributes {
  readonly #values = new Map<number, DataView>();

  /** @param at - where the first attribute begins in `body`. */
  constructor(body: DataView, at: number) {
    while (at + ATTRIBUTE_HEADER_BYTES <= body.byteLength) {
      const length = body.getUint16(at, true);
      if (length < ATTRIBUTE_HEADER_BYTES || at + length > body.byteLength) break;
      const type = body.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
      const valueAt = body.byteOffset + at + ATTRIBUTE_HEADER_BYTES;
      this.#values.set(type, new DataView(body.buffer, valueAt, length - ATTRIBUTE_HEADER_BYTES));
      at += (length + 3) & ~3;
    }
  }

  get types(): number[] {
    return [...this.#values.keys()];
  }

  u8(type: number): number | undefined {
    const value = this.#values.get(type);
    return value === undefined || value.byteLength < 1 ? undefined : value.getUint8(0);
  }

  u32(type: number): number | undefined {
    const value = this.#values.get(type);
    return value === undefined || value.byteLength < 4 ? undefined : value.getUint32(0, true);
  }

  text(type: number): string | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new TextDecoder().decode(bytesOf(value)).replace(/\0.*$/s, "");
  }

  /** Of 4 or 16 bytes, as text. */
  address(type: number): string | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : addressFromView(value);
  }

  bytes(type: number): Uint8Array | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : bytesOf(value);
  }

  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new Attributes(value, 0);
  }
}

/** Network order. @throws RangeError when `text` is no address: callers check what comes from outside. */
export function addressToBytes(text: string): Uint8Array {
  const { family, words } = knownAddress(text);
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < bytes.length; at += 4) view.setInt32(at, words[at / 4]!);
  return bytes;
}

/** @throws RangeError when `text` is no address. */
export function knownAddress(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new RangeError(`Cannot use ${JSON.stringify(text)} as an IP address`);
  return address;
}

function addressFromView(value: DataView): string | undefined {
  if (value.byteLength !== 4 && value.byteLength !== 16) return undefined;
  const words: number[] = [];
  for (let at = 0; at < value.byteLength; at += 4) words.push(value.getInt32(at));
  return formatAddress(value.byteLength === 4 ? 4 : 6, words);
}

const bytesOf = (value: DataView): Uint8Array =>
  new Uint8Array(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);

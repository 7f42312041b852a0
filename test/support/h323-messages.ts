/** Messages of H.323 that another encoder made (h323-messages.txt), with addresses put into them, and their framing on TCP. */
import { readFileSync } from "node:fs";
import { parseEndpoint } from "../../src/wire/address.ts";

export interface EncodedMessage {
  readonly type: "signalling" | "h245" | "ras";
  readonly name: string;
  /** Where the addresses are, in order: names as src/alg/h323 has them, offsets in the encoding. */
  readonly places: readonly (readonly [name: string, at: number])[];
  readonly bytes: Uint8Array;
}

export const H323_MESSAGES: readonly EncodedMessage[] = readFileSync(
  new URL("h323-messages.txt", import.meta.url),
  "utf8",
)
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [type = "", name = "", places = "", hex = ""] = line.split("\t");
    return {
      type: type as EncodedMessage["type"],
      name,
      places: places.split(" ").flatMap((place) => {
        const [mark = "", at = ""] = place.split("@");
        return mark === "" ? [] : [[mark, Number(at)] as const];
      }),
      bytes: Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16)),
    };
  });

/** What stands at the places of a name: the same in all of them, or one by one. */
export type Ends = Readonly<Record<string, string | readonly string[]>>;

/** Message types of Q.931 (section 4.4) by the beginning of the message's name. */
const Q931_TYPES: readonly (readonly [RegExp, number])[] = [
  [/^setup/, 0x05],
  [/^callProceeding/, 0x02],
  [/^alerting/, 0x01],
  [/^connect/, 0x07],
  [/^progress/, 0x03],
  [/^information/, 0x7b],
  [/^releaseComplete/, 0x5a],
  [/^(facility|empty)/, 0x62],
];
const BEARER_CAPABILITY = [0x04, 0x03, 0x88, 0x93, 0xa5];

/** The message as it is sent, a character a byte. */
export function h323Message(name: string, ends: Ends = {}): string {
  const message = H323_MESSAGES.find((one) => one.name === name);
  if (message === undefined) throw new Error(`no message of H.323 with the name ${name}`);
  const { type, places } = message;
  const bytes = message.bytes.slice();
  const used: Record<string, number> = {};
  for (const [mark, at] of places) {
    const wanted = ends[mark];
    if (wanted === undefined) continue;
    const index = used[mark] ?? 0;
    used[mark] = index + 1;
    putEndpoint(bytes, at, typeof wanted === "string" ? wanted : (wanted[index] ?? wanted.at(-1)!));
  }
  const text = String.fromCharCode(...bytes);
  if (type === "ras") return text;
  return tpkt(type === "h245" ? text : q931(Q931_TYPES.find(([begin]) => begin.test(name))![1], text));
}

function putEndpoint(bytes: Uint8Array, at: number, end: string): void {
  const { family, words, port } = parseEndpoint(end)!;
  const view = new DataView(bytes.buffer);
  const count = family === 4 ? 1 : 4;
  for (let i = 0; i < count; i++) view.setInt32(at + 4 * i, words[i]!);
  view.setUint16(at + 4 * count, port);
}

const of16 = (value: number): string => String.fromCharCode(value >> 8, value & 0xff);

function q931(type: number, per: string): string {
  const elements = type === 0x05 ? String.fromCharCode(...BEARER_CAPABILITY) : "";
  return `\x08\x02\x00\x01${String.fromCharCode(type)}${elements}\x7e${of16(per.length + 1)}\x05${per}`;
}

export const tpkt = (text: string): string => `\x03\x00${of16(text.length + 4)}${text}`;

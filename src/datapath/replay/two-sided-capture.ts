/**
 * Captures taken on both sides of a director: which frames arrived at it, which ones it sent. Ethernet tells by the
 * director's own MAC address, which is learned from the traffic; "Linux cooked" frames say it themselves; raw IP is told
 * apart by addresses.
 */

import type { CaptureRecord } from "../../wire/capture-record.ts";
import { ETHERNET_DESTINATION_AT, ETHERNET_SOURCE_AT, MAC_BYTES } from "../../wire/ethernet.ts";
import { Flow } from "../../wire/flow.ts";
import { findIp, LinkType } from "../../wire/link-layer.ts";
import { Packet } from "../../wire/packet.ts";
import type { Side } from "./replay.ts";

/** Packet type field of cooked frames: sent by the host that captured. */
const SLL_OUTGOING = 4;

export interface SidedPacket {
  readonly side: Side;
  readonly timestampMs: number;
  readonly hasArrived: boolean;
  /** The IP packet. */
  readonly bytes: Uint8Array;
}

/** What is known of an address: it is a virtual one, a real server's, or neither. */
export type AddressKind = "virtual" | "server" | "other";

interface Frame {
  readonly record: CaptureRecord;
  readonly bytes: Uint8Array;
  readonly source: AddressKind;
  readonly destination: AddressKind;
}

/**
 * The IP packets of one capture, in its order, with their direction. Frames that are not IP are left out.
 * @param kindOf - classifies an address given as four words from `at` on
 */
export function readSide(
  records: Iterable<CaptureRecord>,
  side: Side,
  kindOf: (family: 4 | 6, words: Int32Array, at: number) => AddressKind,
): SidedPacket[] {
  const frames: Frame[] = [];
  const packet = new Packet();
  const flow = new Flow();
  for (const record of records) {
    const at = findIp(record.linkType, record.bytes);
    if (typeof at !== "number") continue;
    const bytes = record.bytes.subarray(at);
    const isReadable = packet.load(bytes) && flow.dissect(packet) !== "malformed";
    const source = isReadable ? kindOf(flow.family, flow.words, 0) : "other";
    const destination = isReadable ? kindOf(flow.family, flow.words, 4) : "other";
    frames.push({ record, bytes, source, destination });
  }
  const mac = directorMac(frames, side);
  return frames.map((frame) => ({
    side,
    timestampMs: frame.record.timestampMs,
    hasArrived: hasArrived(frame, side, mac),
    bytes: frame.bytes,
  }));
}

/** Learned from the first frame whose direction the addresses leave no doubt about. */
function directorMac(frames: readonly Frame[], side: Side): string | undefined {
  for (const { record, source, destination } of frames) {
    if (record.linkType !== LinkType.ethernet) continue;
    if (side === "client") {
      if (destination === "virtual") return macAt(record.bytes, ETHERNET_DESTINATION_AT);
      if (source === "virtual") return macAt(record.bytes, ETHERNET_SOURCE_AT);
    } else {
      if (source !== "server" && destination === "server") return macAt(record.bytes, ETHERNET_SOURCE_AT);
      if (source === "server" && destination !== "server")
        return macAt(record.bytes, ETHERNET_DESTINATION_AT);
    }
  }
  return undefined;
}

function hasArrived({ record, source, destination }: Frame, side: Side, mac: string | undefined): boolean {
  if (record.linkType === LinkType.ethernet && mac !== undefined)
    return macAt(record.bytes, ETHERNET_DESTINATION_AT) === mac;
  const view = new DataView(record.bytes.buffer, record.bytes.byteOffset, record.bytes.byteLength);
  if (record.linkType === LinkType.linuxCooked) return view.getUint16(0) !== SLL_OUTGOING;
  if (record.linkType === LinkType.linuxCooked2) return view.getUint8(10) !== SLL_OUTGOING;
  if (side === "client") return destination === "virtual" || (source === "other" && destination !== "other");
  return source === "server" || destination === "virtual";
}

function macAt(bytes: Uint8Array, at: number): string {
  return bytes.subarray(at, at + MAC_BYTES).toString();
}

/**
 * Proxy neighbour entries over rtnetlink: addresses this host answers ARP and neighbour discovery for although they are
 * not its own (Linux: include/uapi/linux/neighbour.h, struct ndmsg).
 */
import type { Family } from "../../../wire/address.ts";
import { Attributes, fromKernelFamily, MessageWriter, RequestFlag, toKernelFamily } from "./message.ts";

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDMSG_BYTES = 12;
const NDA_DST = 1;
const NDA_PROTOCOL = 12;
const NUD_PERMANENT = 0x80;
const NTF_PROXY = 0x08;

export interface ProxyNeighbour {
  readonly family: Family;
  readonly address: string;
  /** Index of the interface. */
  readonly device: number;
  readonly protocol: number;
}

/** Succeeds when there is one already. */
export const addProxy = (proxy: ProxyNeighbour): MessageWriter =>
  encodeProxy(RTM_NEWNEIGH, RequestFlag.acknowledge | RequestFlag.create, proxy);

/** Fails with ENOENT when there is none. */
export const deleteProxy = (proxy: ProxyNeighbour): MessageWriter =>
  encodeProxy(RTM_DELNEIGH, RequestFlag.acknowledge, proxy);

export const dumpProxies = (family: Family): MessageWriter =>
  ndmsg(new MessageWriter(RTM_GETNEIGH, RequestFlag.dump), family, 0);

const encodeProxy = (message: number, flags: number, proxy: ProxyNeighbour): MessageWriter =>
  ndmsg(new MessageWriter(message, flags), proxy.family, proxy.device)
    .attributeAddress(NDA_DST, proxy.address)
    .attributeU8(NDA_PROTOCOL, proxy.protocol);

const ndmsg = (writer: MessageWriter, family: Family, device: number): MessageWriter =>
  writer.u8(toKernelFamily(family), 0, 0, 0).u32(device).u16(NUD_PERMANENT).u8(NTF_PROXY, 0);

/** @returns undefined for a neighbour that is not a proxy entry. */
export function decodeProxy(body: DataView): ProxyNeighbour | undefined {
  if (body.byteLength < NDMSG_BYTES) return undefined;
  const family = fromKernelFamily(body.getUint8(0));
  const attributes = new Attributes(body, NDMSG_BYTES);
  const address = attributes.address(NDA_DST);
  const isProxy = (body.getUint8(10) & NTF_PROXY) !== 0;
  if (family === undefined || address === undefined || !isProxy) return undefined;
  return {
    family,
    address,
    device: body.getInt32(4, true),
    protocol: attributes.u8(NDA_PROTOCOL) ?? 0,
  };
}

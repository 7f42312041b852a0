/** Network interfaces over rtnetlink (Linux: include/uapi/linux/if_link.h, struct ifinfomsg). */
import { Attributes, MessageWriter, RequestFlag } from "./message.ts";

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const IFINFOMSG_BYTES = 16;
const INDEX_AT = 4;
const FLAGS_AT = 8;

const TYPE_AT = 2;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_TXQLEN = 13;
const IFLA_GROUP = 27;

const ARPHRD_ETHER = 1;

const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_POINTOPOINT = 0x10;
const IFF_NOARP = 0x80;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly group: number;
  readonly isUp: boolean;
  readonly isLoopback: boolean;
  /** Neighbours are found by asking: ARP or neighbour discovery works here. */
  readonly hasNeighbours: boolean;
  /** Its packets have Ethernet headers. */
  readonly isEthernet: boolean;
  /** Index of the bridge, bond or the like that it is a part of; 0: of none. */
  readonly master: number;
  /** Link-layer address; empty where there is none. */
  readonly hardwareAddress: Uint8Array;
}

export const dumpLinks = (): MessageWriter =>
  new MessageWriter(RTM_GETLINK, RequestFlag.dump).u32(0).u32(0).u32(0).u32(0);

/** What of a link to change; the rest stays as it is. */
export interface LinkSettings {
  readonly mtu?: number;
  /** Packets. Through netlink also in a user namespace; the ioctl for it wants root of the machine. */
  readonly queueLength?: number;
  readonly group?: number;
  readonly isUp?: boolean;
}

export function setLink(device: number, { mtu, queueLength, group, isUp }: LinkSettings): MessageWriter {
  const writer = new MessageWriter(RTM_NEWLINK, RequestFlag.acknowledge)
    .u32(0)
    .u32(device)
    .u32(isUp === true ? IFF_UP : 0)
    .u32(isUp === undefined ? 0 : IFF_UP);
  if (mtu !== undefined) writer.attributeU32(IFLA_MTU, mtu);
  if (queueLength !== undefined) writer.attributeU32(IFLA_TXQLEN, queueLength);
  if (group !== undefined) writer.attributeU32(IFLA_GROUP, group);
  return writer;
}

export const deleteLink = (device: number): MessageWriter =>
  new MessageWriter(RTM_DELLINK, RequestFlag.acknowledge).u32(0).u32(device).u32(0).u32(0);

export function decodeLink(body: DataView): Link | undefined {
  if (body.byteLength < IFINFOMSG_BYTES) return undefined;
  const attributes = new Attributes(body, IFINFOMSG_BYTES);
  const name = attributes.text(IFLA_IFNAME);
  if (name === undefined) return undefined;
  const flags = body.getUint32(FLAGS_AT, true);
  return {
    index: body.getInt32(INDEX_AT, true),
    name,
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    group: attributes.u32(IFLA_GROUP) ?? 0,
    isUp: (flags & IFF_UP) !== 0,
    isLoopback: (flags & IFF_LOOPBACK) !== 0,
    hasNeighbours: (flags & (IFF_LOOPBACK | IFF_POINTOPOINT | IFF_NOARP)) === 0,
    isEthernet: body.getUint16(TYPE_AT, true) === ARPHRD_ETHER,
    master: attributes.u32(IFLA_MASTER) ?? 0,
    hardwareAddress: attributes.bytes(IFLA_ADDRESS)?.slice() ?? new Uint8Array(0),
  };
}

/**
 * Tell the neighbours on a segment that an address of the director's is here now: gratuitous ARP (RFC 5227 section 3, the request
 * form) and unsolicited neighbour advertisement (RFC 4861 section 7.2.6; with the override flag, because the point is to
 * replace what they remember of another director). One packet each; packets get lost, so whoever takes over repeats it.
 */
import { finish, sum } from "../../../wire/checksum.ts";
import {
  AF_PACKET,
  addressOf,
  close,
  expectSuccess,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  sendto,
  socket,
} from "../../system-call.ts";
import type { Link } from "../netlink/link.ts";
import { addressToBytes } from "../netlink/message.ts";
import type { HostConfig } from "./host-config.ts";
import type { HostFacts } from "./host-facts.ts";
import { announcingDevices } from "./host-plan.ts";
import { contains } from "./prefix.ts";

const ETHERTYPE_ARP = 0x0806;
const ETHERTYPE_IPV6 = 0x86dd;
const BROADCAST = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
const ALL_NODES = "ff02::1";
const ALL_NODES_HARDWARE = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const LINK_LOCAL = { family: 6, address: "fe80::", prefixLength: 10 } as const;
const HARDWARE_ADDRESS_BYTES = 6;
const PURPOSE = "announce an address of the director's";

/**
 * Send one announcement of each address on each interface that answers for it.
 * @returns names of those interfaces, by address. @throws SystemCallError: EPERM without CAP_NET_RAW.
 */
export function announce(config: HostConfig, addresses: readonly string[], facts: HostFacts): string[][] {
  const places = addresses.map((address) => {
    const devices = announcingDevices(config, address, facts);
    const canAnnounce = ({ name, isUp, hardwareAddress }: Link) =>
      devices.includes(name) && isUp && hardwareAddress.length === HARDWARE_ADDRESS_BYTES;
    return { address, links: facts.links.filter(canAnnounce) };
  });
  if (places.every(({ links }) => links.length === 0)) return places.map(() => []);
  // One for all: closing a packet socket takes some ten milliseconds, in which the kernel waits for its processors.
  const descriptor = expectSuccess(
    socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
    "socket AF_PACKET",
    PURPOSE,
  );
  try {
    return places.map(({ address, links }) =>
      links.filter((link) => announceOn(descriptor, link, address, facts)).map(({ name }) => name),
    );
  } finally {
    close(descriptor);
  }
}

/** @returns false on an interface that has no IPv6 address of its own to speak from. */
function announceOn(
  descriptor: number,
  { index, hardwareAddress }: Link,
  address: string,
  facts: HostFacts,
): boolean {
  if (!address.includes(":")) {
    send(descriptor, index, ETHERTYPE_ARP, BROADCAST, gratuitousArp(hardwareAddress, address));
    return true;
  }
  const own = facts.addresses.find((it) => it.device === index && contains(LINK_LOCAL, it.address));
  if (own === undefined) return false;
  const packet = neighbourAdvertisement(hardwareAddress, own.address, address);
  send(descriptor, index, ETHERTYPE_IPV6, ALL_NODES_HARDWARE, packet);
  return true;
}

/** RFC 826: Ethernet and IPv4, operation 1 (request), sender = target. */
export function gratuitousArp(hardwareAddress: Uint8Array, vip: string): Uint8Array {
  const packet = new Uint8Array(28);
  packet.set([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
  packet.set(hardwareAddress, 8);
  packet.set(addressToBytes(vip), 14);
  packet.set(addressToBytes(vip), 24);
  return packet;
}

/** An IPv6 packet: router and override flags set, not solicited, with the target link-layer address option. */
export function neighbourAdvertisement(hardwareAddress: Uint8Array, source: string, vip: string): Uint8Array {
  const bytes = 24 + 8;
  const packet = new Uint8Array(40 + bytes);
  packet.set([0x60, 0, 0, 0, 0, bytes, 58, 255]);
  packet.set(addressToBytes(source), 8);
  packet.set(addressToBytes(ALL_NODES), 24);
  packet.set([136, 0, 0, 0, 0xa0], 40);
  packet.set(addressToBytes(vip), 48);
  packet.set([2, 1], 64);
  packet.set(hardwareAddress, 66);
  const view = new DataView(packet.buffer);
  view.setUint16(42, finish(sum(view, 8, packet.length - 8, bytes + 58)));
  return packet;
}

function send(
  descriptor: number,
  device: number,
  ethertype: number,
  destination: Uint8Array,
  payload: Uint8Array,
): void {
  // struct sockaddr_ll, the payload behind it
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ethertype);
  view.setInt32(4, device, true);
  view.setUint8(11, destination.length);
  bytes.set(destination, 12);
  bytes.set(payload, SOCKADDR_LL_BYTES);
  const at = addressOf(bytes);
  const sent = sendto(descriptor, at + SOCKADDR_LL_BYTES, payload.length, 0, at, SOCKADDR_LL_BYTES);
  expectSuccess(sent, "sendto AF_PACKET", PURPOSE);
}

const SOCKADDR_LL_BYTES = 20;

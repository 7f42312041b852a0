/**
 * A TUN device of our own: made and brought up. It goes with its descriptor until it is told to persist (`persist`): then
 * it stays when the process ends, by SIGKILL too, with routes and sysctls. As long as nobody has it open it has no carrier;
 * the kernel drops what is routed there and says nothing about it, so that clients send again, and the next process
 * opens it anew.
 * Linux: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
 *
 * Its MTU is the largest TUN knows. The director has to see every packet whole: with a smaller one the kernel would
 * fragment on the way in, or send "fragmentation needed" about addresses the director has yet to translate. What the
 * links behind it can take is the director's business (route MTU).
 *
 * Not here: several queues, attaching to a device made by others, addresses and routes (see host/).
 */
import { existsSync, writeFileSync } from "node:fs";
import {
  addressOf,
  close,
  expectSuccess,
  ioctl,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  open,
} from "../system-call.ts";
import { Rtnetlink } from "./netlink/rtnetlink.ts";
import { VIRTIO_HEADER_BYTES } from "./offload.ts";
import { handOverReceiving } from "./processor.ts";

export const TUN_PATH = "/dev/net/tun";
export const TUN_MTU_BYTES = 65_535;
/** Packets the kernel keeps for us while we are busy. */
export const TUN_QUEUE_LENGTH = 4096;
/** IFNAMSIZ less its terminating zero. */
const DEVICE_NAME_BYTES_MAX = 15;

const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETVNETLE = 0x400454dc;
const TUNGETIFF = 0x800454d2;

const IFF_TUN = 0x1;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
/** Fail with EBUSY rather than attach to a device that is there already. */
const IFF_TUN_EXCL = 0x8000;

const OFFLOAD_CHECKSUM = 0x01;
const OFFLOAD_TSO = 0x02 | 0x04 | 0x08;
/** USO4 and USO6, Linux 6.2. The kernel takes both or none. */
const OFFLOAD_USO = 0x20 | 0x40;

/** struct ifreq: the name, then the flags. */
const IFREQ_BYTES = 128;
const IFREQ_FLAGS_AT = 16;

/** What the kernel may hand over unsplit; each implies the ones before it. */
export type TunOffload = "none" | "checksum" | "tcp" | "udp";
const OFFLOADS: readonly (readonly [TunOffload, number])[] = [
  ["udp", OFFLOAD_CHECKSUM | OFFLOAD_TSO | OFFLOAD_USO],
  ["tcp", OFFLOAD_CHECKSUM | OFFLOAD_TSO],
  ["checksum", OFFLOAD_CHECKSUM],
  ["none", 0],
];

export interface TunOptions {
  /** The device is there: made by a process before, which is not at it any more. Default: it must not be there. */
  readonly isThere?: boolean;
  /** Default TUN_MTU_BYTES. */
  readonly mtu?: number;
  /** Packets. Default TUN_QUEUE_LENGTH. */
  readonly queueLength?: number;
  /** Processors that route and receive what is written; default: the one that writes. */
  readonly receivingProcessors?: readonly number[];
}

export interface TunDevice {
  readonly name: string;
  /** Interface index. */
  readonly index: number;
  /** Non-blocking; every packet has a virtio-net header in front. */
  readonly descriptor: number;
  readonly offload: TunOffload;
  /**
   * Let the device outlive the process. @throws SystemCallError
   */
  persist(): void;
  /** Removes the device and with it its routes and sysctls, unless it persists. Once only. */
  close(): void;
}

/**
 * Make the device `name` and bring it up, or take one that is there.
 * @throws SystemCallError: ENOENT without /dev/net/tun, EPERM without CAP_NET_ADMIN, EBUSY when the name is taken or a
 *   process is at the device.
 */
export function openTunDevice(name: string, options: TunOptions = {}): TunDevice {
  const request = interfaceRequest(name);
  const descriptor = expectSuccess(
    open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC),
    `open ${TUN_PATH}`,
    `create the TUN device ${name}`,
  );
  try {
    new DataView(request.buffer).setUint16(
      IFREQ_FLAGS_AT,
      IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (options.isThere ? 0 : IFF_TUN_EXCL),
      true,
    );
    expectSuccess(
      ioctl(descriptor, TUNSETIFF, addressOf(request)),
      "ioctl TUNSETIFF",
      `create the TUN device ${name}`,
    );
    return setUp(descriptor, name, options);
  } catch (cause) {
    close(descriptor);
    throw cause;
  }
}

/** The device behind a descriptor that was another process's, to which it belongs no more. @throws SystemCallError */
export const adoptTunDevice = (descriptor: number, name: string, options: TunOptions = {}): TunDevice =>
  setUp(descriptor, name, options);

/** Is it the descriptor of this device? */
export function isOfTunDevice(descriptor: number, name: string): boolean {
  const answer = new Uint8Array(IFREQ_BYTES);
  if (ioctl(descriptor, TUNGETIFF, addressOf(answer)) < 0) return false;
  const text = new TextDecoder().decode(answer.subarray(0, IFREQ_FLAGS_AT));
  return text.slice(0, text.indexOf("\0")) === name;
}

function setUp(descriptor: number, name: string, options: TunOptions): TunDevice {
  setInteger(descriptor, TUNSETVNETHDRSZ, VIRTIO_HEADER_BYTES, "TUNSETVNETHDRSZ", name);
  setInteger(descriptor, TUNSETVNETLE, 1, "TUNSETVNETLE", name);
  const offload = setOffload(descriptor, name);
  withoutAutomaticAddresses(name);
  handOverReceiving(name, options.receivingProcessors ?? []);
  const index = bringUp(name, options.mtu ?? TUN_MTU_BYTES, options.queueLength ?? TUN_QUEUE_LENGTH);
  return {
    name,
    index,
    descriptor,
    offload,
    persist: () => {
      expectSuccess(
        ioctl(descriptor, TUNSETPERSIST, 1),
        "ioctl TUNSETPERSIST",
        `keep the TUN device ${name}`,
      );
    },
    close: () => void close(descriptor),
  };
}

function setInteger(descriptor: number, request: number, value: number, call: string, name: string): void {
  const argument = new Uint8Array(8);
  new DataView(argument.buffer).setInt32(0, value, true);
  expectSuccess(
    ioctl(descriptor, request, addressOf(argument)),
    `ioctl ${call}`,
    `set up the TUN device ${name}`,
  );
}

function setOffload(descriptor: number, name: string): TunOffload {
  let result = 0;
  for (const [offload, flags] of OFFLOADS) {
    result = ioctl(descriptor, TUNSETOFFLOAD, flags);
    if (result >= 0) return offload;
  }
  expectSuccess(result, "ioctl TUNSETOFFLOAD", `set up the TUN device ${name}`);
  return "none";
}

/** No link-local address, hence no router solicitations and no multicast reports into the director. */
function withoutAutomaticAddresses(name: string): void {
  const path = `/proc/sys/net/ipv6/conf/${name}/addr_gen_mode`;
  if (existsSync(path)) writeFileSync(path, "1");
}

/** @returns the interface index. */
function bringUp(name: string, mtu: number, queueLength: number): number {
  const rtnetlink = new Rtnetlink();
  try {
    const link = rtnetlink.links().find((it) => it.name === name);
    if (link === undefined) throw new Error(`Cannot find the TUN device ${name} that was just created`);
    rtnetlink.setLink(link.index, { mtu, queueLength, isUp: true });
    return link.index;
  } finally {
    rtnetlink.close();
  }
}

/**
 * struct ifreq with a device's name and no value yet.
 * @throws RangeError for what is no interface name.
 */
function interfaceRequest(name: string): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  if (encoded.length === 0 || encoded.length > DEVICE_NAME_BYTES_MAX || /[\s/:%]/.test(name))
    throw new RangeError(
      `Cannot create the TUN device ${JSON.stringify(name)}: a name has 1..${DEVICE_NAME_BYTES_MAX} ` +
        "bytes without space, slash, colon or percent sign",
    );
  const bytes = new Uint8Array(IFREQ_BYTES);
  bytes.set(encoded);
  return bytes;
}

/**
 * Packets from and to a TUN device: one read or write each, the virtio-net header turned into the packet's metadata
 * and back. Nothing here allocates or throws once a packet buffer was seen for the first time.
 */
import { Fragmenter } from "../../wire/fragment.ts";
import { HEADROOM_BYTES, Packet } from "../../wire/packet.ts";
import type { Datapath } from "../datapath.ts";
import { type Address, addressOf, EAGAIN, EBADFD, EINTR, EINVAL, EIO, read, write } from "../system-call.ts";
import { DatagramMerge } from "./datagram-merge.ts";
import type { TunDevice } from "./device.ts";
import { Offload, VIRTIO_HEADER_BYTES } from "./offload.ts";

const RECEIVE_AT = HEADROOM_BYTES - VIRTIO_HEADER_BYTES;

/**
 * `up`: working. `down`: somebody set the link down; packets to send are lost until it is up again. `gone`: somebody
 * deleted the device; nothing will ever move again and the owner has to make a new one.
 */
export type TunState = "up" | "down" | "gone";

export interface TunCounters {
  receivedPackets: number;
  sentPackets: number;
  /** Not sent because the kernel had no room or the link was down. */
  lostPackets: number;
  /** Not sent because the kernel would not take such a packet, or it could not be described to it. */
  refusedPackets: number;
  /** Received but of a kind never asked for. */
  unreadablePackets: number;
}

/** What moving packets needs of a device; opening and closing it is somebody else's business. */
export type OpenTunDevice = Pick<TunDevice, "name" | "index" | "descriptor" | "offload">;

export class TunDatapath implements Datapath {
  readonly device: OpenTunDevice;
  readonly counters: TunCounters = {
    receivedPackets: 0,
    sentPackets: 0,
    lostPackets: 0,
    refusedPackets: 0,
    unreadablePackets: 0,
  };
  #state: TunState = "up";
  readonly #descriptor: number;
  readonly #addresses = new WeakMap<Packet, Address>();
  #lastPacket: Packet | undefined;
  #lastAddress: Address = 0;
  readonly #offload = new Offload();
  readonly #fragmenter = new Fragmenter();
  /** Holds one fragment at a time. */
  readonly #fragment = new Packet();
  /** Absent when the kernel does not cut datagrams. */
  readonly #merge: DatagramMerge | undefined;

  constructor(device: OpenTunDevice) {
    this.device = device;
    this.#descriptor = device.descriptor;
    if (device.offload === "udp") this.#merge = new DatagramMerge((packet) => this.#transmitWhole(packet));
  }

  get state(): TunState {
    return this.#state;
  }

  receive(packet: Packet): boolean {
    const at = this.#addressOf(packet) + RECEIVE_AT;
    const room = packet.bytes.length - RECEIVE_AT;
    for (;;) {
      const length = read(this.#descriptor, at, room);
      if (length < 0) {
        if (length === -EINTR) continue;
        if (length !== -EAGAIN) this.#state = "gone"; // EBADFD; EFAULT while it is being deleted
        return false;
      }
      this.#state = "up";
      if (this.#offload.read(packet, RECEIVE_AT, RECEIVE_AT + length)) {
        this.counters.receivedPackets++;
        return true;
      }
      this.counters.unreadablePackets++;
    }
  }

  /** Sends the packet, or keeps a copy of it until `flush`. */
  transmit(packet: Packet): boolean {
    if (this.#merge?.take(packet)) return true;
    const { fragmentBytesMax } = packet;
    if (fragmentBytesMax > 0 && packet.length > fragmentBytesMax)
      return this.#transmitFragments(packet, fragmentBytesMax);
    return this.#transmitWhole(packet);
  }

  /** Send what was kept. To be called before waiting for packets. */
  flush(): void {
    this.#merge?.flush();
  }

  #transmitFragments(packet: Packet, bytesMax: number): boolean {
    if (!this.#fragmenter.start(packet, bytesMax)) {
      this.counters.refusedPackets++;
      return false;
    }
    let areAllSent = true;
    while (this.#fragmenter.next(this.#fragment))
      areAllSent = this.#transmitWhole(this.#fragment) && areAllSent;
    return areAllSent;
  }

  #transmitWhole(packet: Packet): boolean {
    if (!this.#offload.write(packet)) {
      this.counters.refusedPackets++;
      return false;
    }
    const at = this.#addressOf(packet) + packet.at - VIRTIO_HEADER_BYTES;
    const length = packet.length + VIRTIO_HEADER_BYTES;
    let result = write(this.#descriptor, at, length);
    while (result === -EINTR) result = write(this.#descriptor, at, length);
    if (result >= 0) {
      this.counters.sentPackets++;
      return true;
    }
    this.#countFailure(-result);
    return false;
  }

  /** EINVAL is a packet the kernel refuses; the rest is want of memory or of a device. */
  #countFailure(errno: number): void {
    if (errno === EBADFD) this.#state = "gone";
    else if (errno === EIO) this.#state = "down";
    if (errno === EINVAL) this.counters.refusedPackets++;
    else this.counters.lostPackets++;
  }

  #addressOf(packet: Packet): Address {
    if (packet === this.#lastPacket) return this.#lastAddress;
    let address = this.#addresses.get(packet);
    if (address === undefined) this.#addresses.set(packet, (address = addressOf(packet.bytes)));
    this.#lastPacket = packet;
    this.#lastAddress = address;
    return address;
  }
}

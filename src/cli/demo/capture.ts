/**
 * What passes on network interfaces, as text: `node capture.js DEVICE...` prints one line for each IP packet that one
 * of the devices receives or sends, `DEVICE <packet>`, until it is stopped. A packet socket (packet(7)) needs no
 * capture program to be installed. Lines of two devices may come in another order than the packets did.
 */
import { readFileSync } from "node:fs";
import {
  AF_PACKET,
  addressOf,
  bind,
  expectSuccess,
  recv,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  socket,
  watchReadable,
} from "../../datapath/system-call.ts";
import { formatPacket } from "../../wire/text.ts";

/** ETH_P_ALL in network order: packets in both directions, where ETH_P_IP would show those received only. */
const EVERY_PROTOCOL = 0x0300;
/** struct sockaddr_ll: family, protocol, interface index, and what the kernel fills in. */
const LINK_ADDRESS_BYTES = 20;
const PACKET_BYTES_MAX = 65_575;

for (const device of process.argv.slice(2)) capture(device);
process.stdout.write("capturing\n");

function capture(device: string): void {
  const purpose = `capture on ${device}`;
  const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const descriptor = expectSuccess(socket(AF_PACKET, type, 0), "socket", purpose);
  const linkAddress = new Uint8Array(LINK_ADDRESS_BYTES);
  const view = new DataView(linkAddress.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, EVERY_PROTOCOL, true);
  view.setInt32(4, Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8")), true);
  expectSuccess(bind(descriptor, addressOf(linkAddress), LINK_ADDRESS_BYTES), "bind", purpose);

  const bytes = new Uint8Array(PACKET_BYTES_MAX);
  const at = addressOf(bytes);
  watchReadable(descriptor, () => {
    for (let length = recv(descriptor, at, bytes.length, 0); length > 0; ) {
      const version = (bytes[0] ?? 0) >> 4;
      // Without a link-layer header ARP looks like version 0.
      if (version === 4 || version === 6) {
        process.stdout.write(`${device} ${formatPacket(bytes.subarray(0, length))}\n`);
      }
      length = recv(descriptor, at, bytes.length, 0);
    }
  });
}

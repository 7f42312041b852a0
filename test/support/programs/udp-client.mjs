/**
 * `udp-client.mjs ADDRESS PORT BYTES COUNT [PATIENCE_MS]`: sends COUNT datagrams of BYTES bytes from one connected socket, one after
 * the other, and compares each echo with what was sent. Prints the number of echoes that were equal; ends with exit
 * code 1 at the first that is not, does not come within PATIENCE_MS (5000), or is refused (it prints the errno name).
 */
import { createSocket } from "node:dgram";

const [address, port, bytes, count, patienceMs = 5_000] = process.argv.slice(2);

let echoCount = 0;
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
const patience = setTimeout(() => give("no echo"), Number(patienceMs));

function give(what) {
  console.log(`${what} after ${echoCount} echoes`);
  process.exit(1);
}

function send() {
  // Every datagram differs from the one before, so that a late echo is not taken for this one.
  socket.send(Uint8Array.from({ length: Number(bytes) }, (_, at) => (at * 7 + echoCount) & 0xff));
}

socket.on("error", (error) => give(error.code));
socket.on("message", (message) => {
  const isEqual =
    message.length === Number(bytes) && message.every((byte, at) => byte === ((at * 7 + echoCount) & 0xff));
  if (!isEqual) give(`an echo of ${message.length} bytes that differs`);
  echoCount++;
  patience.refresh();
  if (echoCount < Number(count)) return send();
  console.log(`${echoCount} echoes`);
  clearTimeout(patience);
  socket.close();
});
socket.connect(Number(port), address, send);

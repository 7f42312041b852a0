/**
 * `tcp-heartbeat.mjs ADDRESS PORT INTERVAL_MS`: one connection, over which a line goes out every INTERVAL_MS and must
 * come back. Prints `connected`, then `beat N MS` for every echo, with its round-trip time; ends when the connection
 * does, with exit code 1 unless by SIGTERM.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

const [host, port, intervalMs] = process.argv.slice(2);

const socket = connect({ host, port: Number(port), noDelay: true });
let sentAt = 0;
let beat = 0;
const send = () => {
  sentAt = performance.now();
  socket.write(`${++beat}\n`);
};
socket.on("connect", () => {
  console.log("connected");
  send();
});
socket.on("error", (error) => {
  console.log(`lost: ${error.code}`);
  process.exit(1);
});
socket.on("close", () => process.exit(1));
createInterface(socket).on("line", () => {
  console.log(`beat ${beat} ${(performance.now() - sentAt).toFixed(1)}`);
  setTimeout(send, Number(intervalMs));
});
process.on("SIGTERM", () => process.exit(0));

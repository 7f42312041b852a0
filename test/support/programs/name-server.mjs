/**
 * A real server: `name-server.mjs NAME PORT` says NAME to whoever connects, and the address and port it sees the client at;
 * then it says every line back behind its name, until the client ends. Over UDP likewise, a datagram for a datagram.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const [name, port] = process.argv.slice(2);
const plain = (address) => address.replace(/^::ffff:/, "");

const server = createServer({ allowHalfOpen: false }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.write(`${name} ${plain(socket.remoteAddress ?? "")} ${socket.remotePort}\n`);
  const lines = createInterface(socket);
  lines.on("line", (line) => socket.write(`${name} ${line}\n`));
  lines.on("error", () => {}); // the socket says it
});
const datagrams = createSocket("udp6");
datagrams.on("message", (message, from) => {
  datagrams.send(`${name} ${plain(from.address)} ${from.port} ${message}`, from.port, from.address);
});
datagrams.bind(Number(port), "::", () => {
  server.listen(Number(port), "::", () => console.log("listening"));
});

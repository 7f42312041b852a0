/**
 * `parallel-client.mjs ADDRESS PORT COUNT`: COUNT connections that are all open at the same time. Each then asks for
 * a name over HTTP; prints how often each name was answered, as JSON.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";

const [host, port, count] = process.argv.slice(2);

const sockets = Array.from({ length: Number(count) }, () => connect({ host, port: Number(port) }));
await Promise.all(sockets.map((socket) => once(socket, "connect")));
const answers = await Promise.all(
  sockets.map((socket) => {
    socket.write(
      `GET / HTTP/1.1\r\nHost: ${host.includes(":") ? `[${host}]` : host}\r\nConnection: close\r\n\r\n`,
    );
    return text(socket);
  }),
);
const tally = {};
for (const answer of answers) {
  const name =
    answer
      .split("\r\n\r\n")[1]
      ?.split("\n")
      .find((line) => /^[A-Z]$/.test(line)) ?? "no answer";
  tally[name] = (tally[name] ?? 0) + 1;
}
console.log(JSON.stringify(tally));

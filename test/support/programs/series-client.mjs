/**
 * `series-client.mjs ADDRESS PORT FROM...`: opens one connection after the other to a name server, each from one of the
 * given `address:port` (which this host has; port 0: any), and keeps them all open. Prints the first line that came over
 * each, or the errno name, then `done`. A line of input goes out over the connection whose number stands before it ("3
 * hello"), and what comes back is printed behind that number; "close 3" ends one, "bye" resets all of them and ends.
 */
import { connect } from "node:net";
import { createInterface } from "node:readline";

const [host, port, ...sources] = process.argv.slice(2);
const sockets = [];

function open(source) {
  const [, localAddress, localPort] = /^(.*):(\d+)$/.exec(source);
  const number = sockets.length;
  const socket = connect({ host, port: Number(port), localAddress, localPort: Number(localPort) });
  sockets.push(socket);
  return new Promise((resolve) => {
    let isFirst = true;
    const first = (text) => {
      isFirst = false;
      resolve(text);
    };
    socket.on("error", (error) => (isFirst ? first(error.code) : console.log(`${number} ${error.code}`)));
    socket.on("close", () => console.log(`${number} closed`));
    const lines = createInterface(socket);
    lines.on("line", (line) => (isFirst ? first(line) : console.log(`${number} ${line}`)));
    lines.on("error", () => {}); // the socket says it
  });
}

for (const source of sources) console.log(await open(source));
console.log("done");
createInterface(process.stdin).on("line", (line) => {
  if (line === "bye") {
    for (const socket of sockets) socket.resetAndDestroy();
    setImmediate(() => process.exit(0));
    return;
  }
  const [, number, text] = /^(\d+|close) (.*)$/.exec(line);
  if (number === "close") sockets[Number(text)].end();
  else sockets[Number(number)].write(`${text}\n`);
});

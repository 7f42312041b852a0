/**
 * `sip-client.mjs ADDRESS PORT FROM=CALL-ID...`: one SIP request after the other, each a datagram from an `address:port` of
 * this host with this Call-ID, or without one where it is empty. Prints the first letter of each answer, "-" for none.
 */
import { createSocket } from "node:dgram";

const [host, port, ...requests] = process.argv.slice(2);
const PATIENCE_MS = 1000;

function ask(request) {
  const [, address, localPort, callId] = /^(.*):(\d+)=(.*)$/.exec(request);
  const header = callId === "" ? "" : `Call-ID: ${callId}\r\n`;
  const message = `OPTIONS sip:service@example.org SIP/2.0\r\nCSeq: 1 OPTIONS\r\n${header}Content-Length: 0\r\n\r\n`;
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const patience = setTimeout(() => resolve("-"), PATIENCE_MS);
    socket.on("message", (answer) => {
      clearTimeout(patience);
      resolve(answer.toString()[0]);
    });
    socket.bind(Number(localPort), address, () => socket.send(message, Number(port), host));
  }).finally(() => socket.close());
}

let answers = "";
for (const request of requests) answers += await ask(request);
console.log(answers);

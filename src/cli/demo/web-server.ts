/**
 * A real server of the demo: `node web-server.js NAME PORT`. It answers every HTTP request with one line that says
 * who answered and whom it saw, and closes the connection, so that each request is a connection to be scheduled.
 */
import { createServer } from "node:http";

const [name = "?", port = "80"] = process.argv.slice(2);

const server = createServer((request, response) => {
  const { localAddress = "", localPort, remoteAddress = "", remotePort } = request.socket;
  const here = `${plain(localAddress)}:${localPort}`;
  response.setHeader("connection", "close");
  response.end(`server ${name} at ${here} answers ${plain(remoteAddress)}:${remotePort}\n`);
});
server.listen(Number(port), "::", () => process.stdout.write(`server ${name}: listening on port ${port}\n`));

/** IPv4 addresses arrive mapped into IPv6 on a socket that serves both. */
function plain(address: string): string {
  if (address.startsWith("::ffff:")) return address.slice("::ffff:".length);
  return address.includes(":") ? `[${address}]` : address;
}

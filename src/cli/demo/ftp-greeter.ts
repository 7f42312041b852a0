/**
 * The control port of an FTP server, for a demo on a machine without one: `node ftp-greeter.js NAME PORT`. It greets,
 * lets anybody log in, answers a few commands (RFC 959 section 4.1) and refuses the rest; it has no files, and so
 * needs no data connections.
 */
import { createServer } from "node:net";
import { createInterface } from "node:readline";

const [name = "?", port = "21"] = process.argv.slice(2);

const REPLIES: Readonly<Record<string, string>> = {
  USER: "331 Any password will do",
  PASS: "230 Logged in",
  SYST: "215 UNIX Type: L8",
  NOOP: "200 Still here",
  QUIT: "221 Goodbye",
};

const server = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.write(`220 FTP control port of server ${name}\r\n`);
  createInterface(socket).on("line", (line) => {
    const verb = line.split(" ", 1)[0]?.toUpperCase() ?? "";
    socket.write(`${REPLIES[verb] ?? "502 Not in this demo"}\r\n`);
    if (verb === "QUIT") socket.end();
  });
});
server.listen(Number(port), "::", () => process.stdout.write(`server ${name}: listening on port ${port}\n`));

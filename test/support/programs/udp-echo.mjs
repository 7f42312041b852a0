/** A real server: `udp-echo.mjs PORT` sends every datagram back to where it came from. */
import { createSocket } from "node:dgram";

const socket = createSocket({ type: "udp6", recvBufferSize: 4 * 1024 * 1024 });
socket.on("message", (message, from) => socket.send(message, from.port, from.address));
socket.bind(Number(process.argv[2]), "::", () => console.log("listening"));

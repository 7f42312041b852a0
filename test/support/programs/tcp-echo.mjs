/** A real server: `tcp-echo.mjs PORT` sends everything back. */
import { createServer } from "node:net";

const server = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), "::", () => console.log("listening"));

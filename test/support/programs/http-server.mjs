/**
 * A real server: `http-server.mjs NAME PORT`. GET / answers its name; GET /stream?bytes=N the first N bytes of the
 * test stream; PUT anything answers the SHA-256 of the body. Every connection is closed after one request, unless it was for
 * /kept, which answers the name and the client's port.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { testStream } from "./test-stream.mjs";

const [name, port] = process.argv.slice(2);

const server = createServer(async (request, response) => {
  response.setHeader("x-server", name);
  if (request.url === "/kept") return void response.end(`${name} ${request.socket.remotePort}\n`);
  response.setHeader("connection", "close");
  if (request.method === "PUT") {
    const hash = createHash("sha256");
    for await (const chunk of request) hash.update(chunk);
    response.end(`${hash.digest("hex")}\n`);
    return;
  }
  const url = new URL(request.url, "http://server");
  if (url.pathname !== "/stream") return void response.end(`${name}\n`);
  const byteCount = Number(url.searchParams.get("bytes"));
  response.setHeader("content-length", byteCount);
  // The client may go away in the middle; that is its business.
  await pipeline(testStream(byteCount), response).catch(() => {});
});
server.keepAliveTimeout = 0;
server.listen({ port: Number(port), host: "::", backlog: 1024 }, () => console.log("listening"));

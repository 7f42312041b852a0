/**
 * A real server: `http-server.mjs NAME PORT`. GET / answers its name; GET /stream?bytes=N the first N bytes of the
 * test stream; PUT anything answers the SHA-256 of the body. Every connection is closed after one request.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { pipeline } from "node:stream/promises";
import { testStream } from "./test-stream.mjs";

const [name, port] = process.argv.slice(2);

const server = createServer(async (request, response) => {
  response.setHeader("connection", "close");
  response.setHeader("x-server", name);
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
server.listen({ port: Number(port), host: "::", backlog: 1024 }, () => console.log("listening"));

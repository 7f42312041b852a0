/**
 * `tcp-client.mjs ADDRESS PORT BYTES`: sends BYTES bytes of the test stream over one connection to an echo server and
 * compares what comes back by its hash. Prints `equal` or `different`.
 */
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { pipeline } from "node:stream/promises";
import { testStream } from "./test-stream.mjs";

const [host, port, bytes] = process.argv.slice(2);

const sent = createHash("sha256");
const received = createHash("sha256");
const socket = connect({ host, port: Number(port) });
await Promise.all([
  pipeline(testStream(Number(bytes)), socket),
  pipeline(testStream(Number(bytes)), sent),
  (async () => {
    for await (const piece of socket) received.update(piece);
  })(),
]);
console.log(sent.digest("hex") === received.digest("hex") ? "equal" : "different");

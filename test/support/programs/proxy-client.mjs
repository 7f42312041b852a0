/**
 * `proxy-client.mjs ADDRESS PORT COUNT BYTES client|server`: COUNT connections to a proxy server, eight at a time, each of
 * which carries BYTES bytes of the test stream, at once or after the server's greeting. Prints how many were answered
 * rightly, client, address and data, and what was wrong with the others; exit code 1 if any.
 */
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { testStream } from "./test-stream.mjs";

const [host, port, count, bytes, speaksFirst] = process.argv.slice(2);
const AT_A_TIME = 8;

const body = Buffer.concat(await testStream(Number(bytes)).toArray());
const wanted = `${bytes} ${createHash("sha256").update(body).digest("hex")}`;

/** An address without `::` or with one, as hexadecimal digits. */
function hexOf(address) {
  if (!address.includes(":"))
    return address
      .split(".")
      .map((part) => Number(part).toString(16).padStart(2, "0"))
      .join("");
  const [left, right = ""] = address.split("::").map((part) => part.split(":").filter(Boolean));
  const middle = Array(8 - left.length - right.length).fill("0");
  return [...left, ...middle, ...right].map((part) => part.padStart(4, "0")).join("");
}

/** @returns what was wrong, or undefined */
async function exchange() {
  const socket = connect({ host, port: Number(port), allowHalfOpen: true });
  let own;
  socket.on("connect", () => {
    own = `${hexOf(socket.localAddress)} ${socket.localPort}`;
    if (speaksFirst === "client") socket.end(body);
    else socket.once("data", () => socket.end(body));
  });
  const answer = await text(socket).catch((error) => error.message);
  const right = `2 ${own} ${hexOf(host)} ${port}\n${wanted}\n`;
  return answer === right ? undefined : `${answer.trim()} instead of ${right.trim()}`;
}

let left = Number(count);
let rightCount = 0;
async function work() {
  while (left-- > 0) {
    const wrong = await exchange();
    if (wrong === undefined) rightCount++;
    else console.log(wrong);
  }
}
await Promise.all(Array.from({ length: AT_A_TIME }, work));
console.log(`${rightCount} right`);
process.exitCode = rightCount === Number(count) ? 0 : 1;

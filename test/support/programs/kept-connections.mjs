/**
 * `kept-connections.mjs URL COUNT INTERVAL_MS`: COUNT HTTP connections that are kept; over each a request goes out every
 * INTERVAL_MS. Prints `open` when each had an answer, `round N` when each had N more, and at SIGTERM, or as soon as one fails,
 * a line of JSON: answers, connections that were lost, wrong answers, and the longest wait for one in milliseconds.
 */
import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const [url, count, intervalMs] = process.argv.slice(2);
const result = { answers: 0, lost: 0, wrong: 0, longestMs: 0, errors: [] };
const answersOf = new Int32Array(Number(count));
let round = -1;
let isEnding = false;

function ask(agent, expected) {
  return new Promise((resolve, reject) => {
    const startedMs = performance.now();
    const outgoing = request(url, { agent }, async (response) => {
      let text = "";
      for await (const piece of response.setEncoding("utf8")) text += piece;
      const elapsedMs = performance.now() - startedMs;
      result.longestMs = Math.max(result.longestMs, Math.round(elapsedMs));
      result.answers++;
      if (expected !== undefined && text !== expected) result.wrong++;
      resolve(text);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

async function keep(index) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let sockets = 0;
  const { createConnection } = agent;
  agent.createConnection = (...args) => {
    if (++sockets > 1) result.lost++; // the first one was closed
    return createConnection.apply(agent, args);
  };
  try {
    const first = await ask(agent);
    for (;;) {
      answersOf[index]++;
      const least = Math.min(...answersOf);
      if (least > round && least > 0) {
        round = least;
        console.log(round === 1 ? "open" : `round ${round - 1}`);
      }
      await delay(Number(intervalMs) * (0.5 + (index % 16) / 16));
      if (isEnding) return;
      await ask(agent, first);
    }
  } catch (error) {
    if (isEnding) return;
    result.lost++;
    result.errors.push(error.code ?? error.message);
    end();
  }
}

function end() {
  isEnding = true;
  console.log(JSON.stringify(result));
  process.exit(result.lost + result.wrong > 0 ? 1 : 0);
}

process.on("SIGTERM", end);
for (let index = 0; index < Number(count); index++) {
  keep(index);
  if (index % 20 === 19) await delay(5);
}

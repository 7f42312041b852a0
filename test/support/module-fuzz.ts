/**
 * Payloads made by damage from those of a dialogue, given to a module as whole units and as streams cut anywhere. The module
 * works on a real connection of a whole director; only the packets around the payload are left out, for speed.
 */
import type { Engine } from "../../src/alg/engine/engine.ts";
import type { Side } from "../../src/alg/engine/module.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { Protocol } from "../../src/wire/flow.ts";
import { sctp, tcp, udp } from "./packet-builder.ts";
import type { Stage } from "./stage.ts";
import type { Place } from "./story.ts";

const BYTES_MAX = 4096;
/** What parsers stumble over: ends of ranges, signs, separators, digits without end. */
const SPICES = [
  "0", "99999999999", "-1", "255", "65536", "\0\0\0\0", "\xff\xff\xff\xff", "\r\n", "\r\n\r\n", ";", ",", "=", "(", "[", "\x01",
]; // biome-ignore format: a list to read

export interface FuzzResult {
  /** Mean, and of the worst thousand payloads, without what the harness itself takes. */
  readonly nsPerByte: number;
  readonly worstNsPerByte: number;
  readonly stage: Stage;
}

/** @param count - payloads */
export function fuzzModule(place: Place, count: number, seed: number): FuzzResult {
  const random = seededRandom(seed);
  const below = (bound: number): number => random() % bound;
  const stage = place.stage();
  const record = open(stage, place);
  const engine = stage.director.applications as Engine;
  const dialogue = engine.dialogueOf(record);
  const { options } = dialogue;
  const protocol = stage.director.connections.protocol(record);
  const samples = place.said.map(([side, text]) => [side, latin1(text)] as const);
  const spices = SPICES.map(latin1);
  const bytes = new Uint8Array(BYTES_MAX);
  const out = new Uint8Array(65_536);
  let length = 0;

  const damage = (sample: Uint8Array): void => {
    length = Math.min(sample.length, BYTES_MAX);
    bytes.set(sample.subarray(0, length));
    for (let times = below(4); times > 0; times--) {
      const at = length === 0 ? 0 : below(length);
      switch (below(6)) {
        case 0:
          if (length > 0) bytes[at] = below(256);
          break;
        case 1:
          length = at;
          break;
        case 2:
          insert(at, spices[below(spices.length)]!);
          break;
        case 3:
          bytes.copyWithin(at, Math.min(length, at + 1 + below(8)), length);
          break;
        case 4:
          insert(at, samples[below(samples.length)]![1]);
          break;
        default:
          if (length > 0) bytes[at]! ^= 1 << below(8);
      }
    }
  };
  const insert = (at: number, what: Uint8Array): void => {
    const some = what.subarray(0, BYTES_MAX - at);
    bytes.copyWithin(at + some.length, at, BYTES_MAX - some.length);
    bytes.set(some, at);
    length = Math.min(BYTES_MAX, length + some.length);
  };

  const give = (from: Side): void => {
    if (dialogue.isUnread) dialogue.begin(record, options, protocol);
    const stream = from === "client" ? dialogue.toServer : dialogue.toClient;
    if (stream === undefined || below(2) === 0) {
      dialogue.read(from, bytes, 0, length, out, 0, out.length);
      return;
    }
    if (!stream.isKnown || stream.isOpaque || below(8) === 0) stream.begin(below(2 ** 30), true);
    for (let at = 0; at < length; ) {
      const part = Math.min(length - at, 1 + below(below(4) === 0 ? 3 : 600));
      const edge = stream.edge;
      stream.take(bytes, at, part);
      stream.emit(edge, stream.edge, bytes, at, out, 2000, false);
      stream.acknowledged(stream.rewritten(stream.edge));
      at += part;
    }
  };

  let [elapsedMs, byteCount, worst] = [0, 0, 0];
  for (let done = 0; done < count; ) {
    let [batchMs, batchBytes] = [0, 0];
    for (const end = Math.min(count, done + 1000); done < end; done++) {
      const [side, sample] = samples[below(samples.length)]!;
      damage(sample);
      const before = performance.now();
      give(below(8) === 0 ? (side === "client" ? "server" : "client") : side);
      batchMs += performance.now() - before;
      batchBytes += length + 1;
    }
    elapsedMs += batchMs;
    byteCount += batchBytes;
    worst = Math.max(worst, (batchMs * 1e6) / batchBytes);
    stage.run(1000);
    if (!stage.director.connections.isLive(record)) throw new Error("the connection has ended");
    stage.director.connections.touch(record, Math.floor(stage.now / 10));
  }
  return { nsPerByte: (elapsedMs * 1e6) / byteCount, worstNsPerByte: worst, stage };
}

/** Begin the dialogue's connection. @returns its record */
function open(stage: Stage, { outside, inside, transport = "tcp" }: Place): number {
  const [from, to] = outside;
  if (transport === "udp") stage.send(udp({ from, to, payload: "" }));
  else if (transport === "sctp") stage.send(sctp({ from, to }));
  else {
    stage.send(tcp({ from, to, flags: "S", seq: 0 }));
    stage.send(tcp({ from: inside[1], to: inside[0], flags: "SA", seq: 0, ack: 1 }));
    stage.send(tcp({ from, to, flags: "A", seq: 1, ack: 1 }));
  }
  const { connections } = stage.director;
  for (let record = 0; record < connections.highWater; record++)
    if (connections.protocol(record) === Protocol[transport]) return record;
  throw new Error(`no connection from ${from} to ${to}`);
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (one) => one.charCodeAt(0));

/** SCTP packets, damaged anywhere, through the module and its association's paths. */
import { describe, expect, test } from "vitest";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { census } from "../support/census.ts";
import { fuzzModule } from "../support/module-fuzz.ts";
import { sctp } from "../support/packet-builder.ts";
import { checkPacket, valid } from "../support/packet-check.ts";
import { destination, service } from "../support/replayed.ts";
import {
  addressParameter,
  type Chunk,
  cookie,
  cookieAck,
  cookieEcho,
  data,
  heartbeat,
  init,
  initAck,
  parameter,
  u32,
} from "../support/sctp-chunks.ts";
import { Stage } from "../support/stage.ts";
import type { Place } from "../support/story.ts";

const PAYLOADS = Number(process.env.VSNAT_FUZZ_PAYLOADS ?? 20_000);
const [CLIENT, VIP, SERVER] = ["202.100.1.2:5000", "202.103.106.5:2905", "172.16.0.3:2905"];

const addresses = ["202.100.1.2", "202.100.2.2", "172.16.0.3", "198.18.0.9", "2001:db8:1::2"].map(
  addressParameter,
);
const supported = parameter(0x8008, 0xc0, 0xc1, 0x80);
const SAID: readonly (readonly ["client" | "server", readonly Chunk[]])[] = [
  ["client", [init(7, ...addresses, supported, parameter(11, 97, 0))]],
  ["server", [initAck(9, ...addresses, supported, parameter(0xc004, ...u32(1), ...addresses[2]!), cookie)]],
  ["client", [cookieEcho, data]],
  ["server", [cookieAck, data]],
  ["client", [heartbeat]],
  [
    "server",
    [{ type: 0xc1, value: [...u32(1), ...addresses[2]!, ...parameter(0xc001, ...u32(1), ...addresses[3]!)] }],
  ],
  ["server", [{ type: 9, value: parameter(5, ...addresses[2]!) }]],
  ["client", [{ type: 6, value: parameter(11, ...addresses[0]!, ...addresses[1]!) }]],
  ["server", [{ type: 14, flags: 1 }]],
];
const packet = (side: "client" | "server", chunks: readonly Chunk[], tag: number): Uint8Array =>
  side === "client"
    ? sctp({ from: CLIENT, to: VIP, tag, chunks })
    : sctp({ from: SERVER, to: CLIENT, tag, chunks });

const stage = (): Stage =>
  new Stage(
    [{ ...service("sctp", "202.103.106.5", 2905, "rr", destination("172.16.0.3", 2905)), app: "sctp" }],
    {
      connectionsMax: 100,
    },
  );

const countersOf = (one: Stage) =>
  one.control.status().applications.find(({ name }) => name === "sctp")!.counters;

describe("module sctp", () => {
  const place: Place = {
    name: "a server behind the director",
    transport: "sctp",
    stage,
    outside: [CLIENT, VIP],
    inside: [CLIENT, SERVER],
    said: SAID.map(([side, chunks]) => [side, String.fromCharCode(...packet(side, chunks, 7).subarray(20))]),
  };

  test(`${PAYLOADS} damaged packets`, { timeout: 600_000 }, () => {
    const result = fuzzModule(place, PAYLOADS, 1);
    expect(countersOf(result.stage).failed).toBe(0);
    expect(census(result.stage.director)).toEqual([]);
    result.stage.run(3_600_000);
    expect(result.stage.connections()).toEqual([]);
  });
});

test("100,000 packets in any order, from anywhere: what leaves is whole, and the tables are right", {
  timeout: 240_000,
}, () => {
  const random = seededRandom(3);
  const below = (bound: number): number => random() % bound;
  const one = stage();
  const hosts = ["202.100.1.2", "202.100.2.2", "198.18.0.9", "172.16.0.3", "172.16.0.4"];
  for (let i = 0; i < 100_000; i++) {
    const [side, chunks] = SAID[below(SAID.length)]!;
    const fields = {
      tag: [0, 7, 9, 8][below(4)]!,
      chunks,
      checksum: below(20) === 0 ? ("wrong" as const) : ("full" as const),
    };
    const client = `${hosts[below(3)]}:${5000 + below(3)}`;
    const isFromClient = side === "client";
    const sent = one.send(
      isFromClient
        ? sctp({ ...fields, from: client, to: VIP })
        : sctp({ ...fields, from: `${hosts[3 + below(2)]}:2905`, to: client }),
    );
    if (fields.checksum === "full" && sent.verdict.startsWith("to-")) checkPacket(sent.bytes, valid());
    if (below(1000) === 0) one.run(below(400_000));
    if (i % 500 === 0) expect(census(one.director)).toEqual([]);
  }
  const { announced, rewritten, failed, badChecksum } = countersOf(one);
  expect(failed).toBe(0);
  for (const count of [announced, rewritten, badChecksum]) expect(count).toBeGreaterThan(100);
  one.run(7_200_000);
  expect(one.connections()).toEqual([]);
  expect(census(one.director)).toEqual([]);
});

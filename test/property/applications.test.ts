/** FTP control connections of all kinds through the director, as properties; see ../support/story.ts. */
import { expect, test } from "vitest";
import { ftp as module } from "../../src/alg/ftp.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { describeModule } from "../contract/application-module.ts";
import { census } from "../support/census.ts";
import { tcp } from "../support/packet-builder.ts";
import { checkPacket, valid, validPartial } from "../support/packet-check.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";
import type { Place } from "../support/story.ts";

const ftp = (address: string, port: number, ...servers: ReturnType<typeof destination>[]): ServiceConfig => ({
  ...service("tcp", address, port, "rr", ...servers),
  app: "ftp",
});

/** Said, and heard if that differs. Long enough for lines of every kind to meet in a segment. */
const SERVED: Place["said"] = [
  ["server", "220-Welcome\r\n220 to 172.16.0.3\r\n"],
  ["client", "USER anonymous\r\n"],
  ["server", "230 Login successful.\r\n"],
  ["client", "PASV\r\n"],
  [
    "server",
    "227 Entering Passive Mode (172,16,0,3,117,54).\r\n",
    "227 Entering Passive Mode (202,103,106,5,117,54).\r\n",
  ],
  ["client", "RETR one\r\n"],
  ["server", "150 Opening.\r\n226 Transfer complete.\r\n"],
  ["client", "pasv\r\n"],
  ["server", "227 172,16,0,3,4,1\r\n", "227 202,103,106,5,4,1\r\n"],
  ["client", "PORT 202,100,1,2,132,209\r\n"],
  ["server", "200 PORT command successful.\r\n"],
  ["client", "EPSV\r\n"],
  ["server", "229 Extended (|1|172.16.0.3|30001|)\r\n", "229 Extended (|||30001|)\r\n"],
  ["client", "QUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];
const SERVED6: Place["said"] = [
  ["server", "220 ready\r\n"],
  ["client", "EPSV 2\r\n"],
  ["server", "229 Extended (|2|fd00:16::3|30001|)\r\n", "229 Extended (|||30001|)\r\n"],
  ["client", "EPSV\r\n"],
  ["server", "229 Extended Passive Mode (|||30002|)\r\n"],
  ["client", "QUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];
const GOING_OUT: Place["said"] = [
  ["server", "220 ready\r\n"],
  ["client", "PORT 10,0,0,9,156,64\r\n", "PORT 192,0,2,99,156,64\r\n"],
  ["server", "200 PORT command successful.\r\n"],
  ["client", "port  10,0,0,9,156,65\r\n", "port  192,0,2,99,156,65\r\n"],
  ["server", "200 OK\r\n"],
  ["client", "EPRT |1|10.0.0.9|40002|\r\n", "EPRT |1|192.0.2.99|40002|\r\n"],
  ["server", "200 OK\r\n227 Not asked for (10,0,0,9,1,1).\r\n"],
  ["client", "LPRT 4,4,10,0,0,9,2,156,67\r\n", "LPRT 4,4,192,0,2,99,2,156,67\r\n"],
  ["server", "200 OK\r\n"],
  ["client", "PO\r\nQUIT\r\n"],
  ["server", "221 Goodbye.\r\n"],
];

const PLACES: readonly Place[] = [
  {
    name: "a server behind the director",
    stage: () => new Stage([ftp("202.103.106.5", 2121, destination("172.16.0.3", 21))]),
    outside: ["202.100.1.2:34000", "202.103.106.5:2121"],
    inside: ["202.100.1.2:34000", "172.16.0.3:21"],
    said: SERVED,
  },
  {
    name: "one of IPv6",
    stage: () => new Stage([ftp("2001:db8:5::5", 21, destination("fd00:16::3", 21))]),
    outside: ["[2001:db8:1::2]:34000", "[2001:db8:5::5]:21"],
    inside: ["[2001:db8:1::2]:34000", "[fd00:16::3]:21"],
    said: SERVED6,
  },
  {
    name: "a client behind the director",
    stage: () => {
      const stage = new Stage([]);
      stage.apply([], { masquerade: [{ from: ["10.0.0.0/24"], sources: ["192.0.2.99"], apps: ["ftp"] }] });
      return stage;
    },
    outside: ["10.0.0.9:40000", "198.51.100.21:21"],
    inside: ["192.0.2.99:40000", "198.51.100.21:21"],
    said: GOING_OUT,
  },
];

describeModule(module, { places: PLACES, runs: 400 });

test("100,000 lines of nonsense: nothing throws, every counter is right, and nothing is left in the end", {
  timeout: 240_000,
}, () => {
  const random = seededRandom(7);
  const below = (bound: number): number => random() % bound;
  const of = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const addresses = ["202,100,1,2", "172,16,0,3", "172,16,0,2", "202,103,106,5", "999,1,1,1", "1,2,3"];
  const junk = (): string => String.fromCharCode(...Array.from({ length: below(40) }, () => below(256)));
  const numbers = (): string =>
    `${of(addresses)},${of(["117,5", "0,21", "132,20", "256,1"])}${of([below(10), ""])}`;
  const lines = [
    () => "PASV\r\n",
    () => `EPSV${of(["", " 1", " ALL", " x"])}\r\n`,
    () => `PORT ${numbers()}\r\n`,
    () => `227 ${of(["(", "", "2 "])}${numbers()}${of([")", ""])}\r\n`,
    () => `229 (|||${of([0, 1023, 3000, 99_999])}${below(10)}|)\r\n`,
    () =>
      `${of(["EPRT", "eprt"])} |${of([1, 2])}|${of(addresses).replaceAll(",", ".")}|${20_000 + below(4)}|\r\n`,
    () => `LPRT 4,4,${numbers()}\r\n228 6,16,${numbers()},${numbers()},${numbers()}\r\n`,
    () => junk(),
    () => `${of(["227 ", "PORT ", "22", "\n"])}${junk()}`,
    () => "x".repeat(below(700)),
  ];
  const stage = new Stage(
    [
      {
        ...service("tcp", "202.103.106.5", 21, "rr", destination("172.16.0.3", 21)),
        app: "ftp",
      },
    ],
    { connectionsMax: 300 },
  );
  const virtual = "202.103.106.5:21";
  const sequences = new Map<string, number>();
  for (let i = 0; i < 100_000; i++) {
    const client = `202.100.1.${2 + below(2)}:${34_000 + below(20)}`;
    const isClient = below(2) === 0;
    const [from, to] = isClient ? [client, virtual] : ["172.16.0.3:21", client];
    const key = `${from} ${to}`;
    const seq = sequences.get(key) ?? below(2 ** 32);
    const kind = below(80);
    const dataPort = of([29_957, 33_812, 30_000 + below(10), 20_000 + below(4)]);
    if (kind < 10) stage.send(tcp({ from, to, flags: isClient ? "S" : "SA", seq: (seq - 1) >>> 0 }));
    else if (kind === 10) stage.send(tcp({ from, to, flags: of(["R", "FA", "F"]), seq }));
    else if (kind === 11) stage.send(tcp({ from: client, to: `202.103.106.5:${dataPort}`, flags: "S" }));
    else if (kind === 12)
      stage.send(
        tcp({
          from: `172.16.0.3:${of([20, 40_000])}`,
          to: `202.100.1.2:${dataPort}`,
          flags: "S",
        }),
      );
    else if (kind === 13) stage.run(below(4000));
    else {
      const payload = Uint8Array.from(of(lines)(), (letter) => letter.charCodeAt(0));
      const isPartial = below(2) === 0;
      const fields = {
        from,
        to,
        flags: of(["A", "PA", "FA", "UA"]),
        seq: (seq - of([0, 0, 0, 5])) >>> 0,
        ack: below(2 ** 32),
      };
      const sent = stage.send(
        tcp({ ...fields, urgentPointer: below(9), payload, checksum: isPartial ? "partial" : "full" }),
        { isChecksumPartial: isPartial },
      );
      if (sent.verdict.startsWith("to-")) checkPacket(sent.bytes, isPartial ? validPartial() : valid());
      sequences.set(key, (seq + payload.length) >>> 0);
    }
    if (i % 500 === 0) expect(census(stage.director)).toEqual([]);
  }
  const { counters } = stage.control.status().applications.find(({ name }) => name === "ftp")!;
  expect(counters).toMatchObject({ failed: 0, unattended: 0 });
  for (const what of ["announced", "begun", "foreign", "lowPort", "rewritten", "outOfOrder"] as const)
    expect(counters[what], what).toBeGreaterThan(10);
  stage.run(7_200_000);
  expect(stage.connections()).toEqual([]);
  expect(census(stage.director)).toEqual([]);
  expect(stage.control.status().applications.find(({ name }) => name === "ftp")!.ports).toEqual([]);
});

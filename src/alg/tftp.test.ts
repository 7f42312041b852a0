/** TFTP's module: what a request opens, and for whom, through a whole director. */
import { beforeEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, payload, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";
import { Unit } from "./engine/unit.ts";
import { isRequest } from "./tftp.ts";

const CLIENT = "202.100.1.2";
const VIP = "202.103.106.5";
const [A, B] = ["172.16.0.2", "172.16.0.3"];
const FAR = "198.51.100.7";
// Of two servers the newest comes first.
const TFTP: ServiceConfig = {
  ...service("udp", VIP, 69, "rr", destination(B, 69), destination(A, 69)),
  app: "tftp",
};
const READ = "\0\x01boot/image\0octet\0";
const WRITE = "\0\x02log\0NETASCII\0";
const DATA = "\0\x03\0\x01hello";
const ACKNOWLEDGED = "\0\x04\0\x01";

let stage: Stage;
beforeEach(() => {
  stage = new Stage([TFTP]);
});
const bytesOf = (text: string) => Uint8Array.from(text, (one) => one.charCodeAt(0));
const send = (source: string, target: string, text: string) =>
  stage.send(udp({ from: source, to: target, payload: bytesOf(text) }));
const counters = () => stage.control.status().applications.find(({ name }) => name === "tftp")!.counters;
/** Entries that wait, with 0 for the port that is not known. */
const waiting = () =>
  stage.connections().filter((one) => one.virtual.port === 0 || one.destination.port === 0).length;

describe("a server behind the director", () => {
  test.each([
    ["read", READ],
    ["write", WRITE],
  ])("%s: the answer comes from another port, and the transfer is its own", (_, request) => {
    checkPacket(send(`${CLIENT}:2000`, `${VIP}:69`, request).bytes, to(`${A}:69`), payload(bytesOf(request)));
    const answer = send(`${A}:40001`, `${CLIENT}:2000`, DATA);
    expect(answer.verdict).toBe("to-client");
    checkPacket(answer.bytes, valid(), from(`${VIP}:40001`), to(`${CLIENT}:2000`), payload(bytesOf(DATA)));
    const back = send(`${CLIENT}:2000`, `${VIP}:40001`, ACKNOWLEDGED);
    checkPacket(back.bytes, valid(), from(`${CLIENT}:2000`), to(`${A}:40001`));
    expect(counters()).toMatchObject({ announced: 1, begun: 1, rewritten: 0, failed: 0 });
    expect(census(stage.director)).toEqual([]);
  });

  test("a request that is repeated waits once, and each of its answers passes", () => {
    for (let k = 0; k < 3; k++) send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    expect(waiting()).toBe(1);
    for (const port of [40_001, 40_002]) {
      checkPacket(send(`${A}:${port}`, `${CLIENT}:2000`, DATA).bytes, from(`${VIP}:${port}`));
      checkPacket(send(`${CLIENT}:2000`, `${VIP}:${port}`, ACKNOWLEDGED).bytes, to(`${A}:${port}`));
    }
    send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    expect(waiting()).toBe(1);
    expect(counters()).toMatchObject({ announced: 1, begun: 2 });
  });

  test("several transfers from one port, one after the other", () => {
    for (let port = 40_000; port < 40_050; port++) {
      send(`${CLIENT}:2000`, `${VIP}:69`, READ);
      checkPacket(send(`${A}:${port}`, `${CLIENT}:2000`, DATA).bytes, from(`${VIP}:${port}`));
    }
  });

  test("two servers may answer one client from the same port", () => {
    send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    send(`${CLIENT}:2001`, `${VIP}:69`, READ);
    send(`${A}:40001`, `${CLIENT}:2000`, DATA);
    send(`${B}:40001`, `${CLIENT}:2001`, DATA);
    checkPacket(send(`${CLIENT}:2000`, `${VIP}:40001`, ACKNOWLEDGED).bytes, to(`${A}:40001`));
    checkPacket(send(`${CLIENT}:2001`, `${VIP}:40001`, ACKNOWLEDGED).bytes, to(`${B}:40001`));
  });

  test("FullNAT", () => {
    stage = new Stage([{ ...TFTP, fullNat: { sources: ["10.9.0.1"], clients: "all" } }]);
    const [one, two] = [CLIENT, "202.100.1.3"].map((client) => {
      // The same server for both.
      send(`${client}:1999`, `${VIP}:69`, DATA);
      return send(`${client}:2000`, `${VIP}:69`, READ).bytes;
    });
    const seenPort = (bytes: Uint8Array) => (bytes[20]! << 8) | bytes[21]!;
    expect(seenPort(one!)).toBe(2000);
    expect(seenPort(two!)).not.toBe(2000);
    const server = [...two!.subarray(16, 20)].join(".");
    const answer = send(`${server}:40001`, `10.9.0.1:${seenPort(two!)}`, DATA);
    checkPacket(answer.bytes, valid(), from(`${VIP}:40001`), to("202.100.1.3:2000"));
    const back = send("202.100.1.3:2000", `${VIP}:40001`, ACKNOWLEDGED);
    checkPacket(back.bytes, valid(), from(`10.9.0.1:${seenPort(two!)}`), to(`${server}:40001`));
  });

  test("IPv6", () => {
    const [client, vip, server] = ["2001:db8:1::2", "2001:db8:5::5", "fd00:16::3"];
    stage = new Stage([{ ...service("udp", vip, 69, "rr", destination(server, 69)), app: "tftp" }]);
    send(`[${client}]:2000`, `[${vip}]:69`, READ);
    const answer = send(`[${server}]:40001`, `[${client}]:2000`, DATA);
    checkPacket(answer.bytes, valid(), from(`[${vip}]:40001`));
  });
});

describe("a client behind the director", () => {
  beforeEach(() => {
    stage = new Stage([]);
    stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["tftp"] }] });
  });

  test("two from the same port: each gets its own answer where its request came from", () => {
    const ports = [A, B].map((client) => {
      const { bytes } = send(`${client}:2000`, `${FAR}:69`, READ);
      return (bytes[20]! << 8) | bytes[21]!;
    });
    expect(ports[0]).toBe(2000);
    expect(ports[1]).not.toBe(2000);
    [A, B].forEach((client, index) => {
      const answer = send(`${FAR}:40001`, `${VIP}:${ports[index]}`, DATA);
      checkPacket(answer.bytes, valid(), from(`${FAR}:40001`), to(`${client}:2000`));
      const back = send(`${client}:2000`, `${FAR}:40001`, ACKNOWLEDGED);
      checkPacket(back.bytes, valid(), from(`${VIP}:${ports[index]}`), to(`${FAR}:40001`));
    });
    expect(census(stage.director)).toEqual([]);
  });
});

describe("attacks", () => {
  test.each([
    ["data", DATA],
    ["an error", "\0\x05\0\x01no\0"],
    ["another opcode", "\x01\x01a\0octet\0"],
    ["no name", "\0\x01\0octet\0"],
    ["no mode", "\0\x01name\0"],
    ["another mode", "\0\x01name\0binary\0"],
    ["a mode that does not end", "\0\x01name\0octet"],
    ["nothing", ""],
  ])("%s is no request", (_, text) => {
    send(`${CLIENT}:2000`, `${VIP}:69`, text);
    expect(waiting()).toBe(0);
    expect(counters().announced).toBe(0);
  });

  test("what a server says opens nothing", () => {
    send(`${CLIENT}:2000`, `${VIP}:69`, DATA);
    send(`${A}:69`, `${CLIENT}:2000`, READ);
    expect(waiting()).toBe(0);
  });

  test("only the server that was asked may answer, and only where it was asked from", () => {
    send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    for (const [source, target] of [
      [`${B}:40001`, `${CLIENT}:2000`],
      [`${A}:40001`, `${CLIENT}:2001`],
      [`${A}:40001`, "202.100.1.3:2000"],
    ] as const)
      expect(send(source, target, DATA).verdict).toBe("pass");
    expect(counters().begun).toBe(0);
  });

  test("a client does not reach other ports of its server by asking for a file", () => {
    send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    expect(send(`${CLIENT}:2000`, `${VIP}:161`, DATA).verdict).toBe("reply");
    expect(send(`${CLIENT}:2000`, `${VIP}:40001`, DATA).verdict).toBe("reply");
    expect(counters().begun).toBe(0);
  });

  test("a flood of requests from one port waits once, and nothing is left of it", () => {
    for (let k = 0; k < 10_000; k++) send(`${CLIENT}:2000`, `${VIP}:69`, READ);
    expect(stage.connections()).toHaveLength(2);
    stage.run(62_000);
    expect(stage.connections()).toHaveLength(1);
    expect(send(`${A}:40001`, `${CLIENT}:2000`, DATA).verdict).toBe("pass");
    stage.run(600_000);
    expect(stage.connections()).toEqual([]);
  });
});

test("a request with options, and one that is longer than any", () => {
  const unit = new Unit();
  const judge = (text: string): boolean => {
    const bytes = bytesOf(text);
    unit.aim(bytes, 0, bytes.length);
    return isRequest(unit);
  };
  expect(judge("\0\x01f\0OcTeT\0blksize\x001428\0tsize\x000\0")).toBe(true);
  expect(judge(`\0\x01${"x".repeat(60_000)}\0mail\0`)).toBe(true);
});

/**
 * No allocation on the packet path. After a warm-up, the heap is looked at before and after 50,000 packets, with the
 * garbage collected before and not in between (50,000 of the smallest objects would be 800 kB, far below what makes V8
 * collect). The smallest of several rounds counts, because V8 allocates now and then for itself.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { milliseconds, seconds } from "../../src/base/environment.ts";
import type { DirectorConfig, ServiceConfig } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { VERDICT_KINDS } from "../../src/nat/verdict.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";
import { DirectorSync } from "../../src/sync/director-sync.ts";
import { Packet } from "../../src/wire/packet.ts";
import { bytes, echo, fragment, icmp, sctp, tcp, udp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

const PACKETS = 50_000;
const ROUNDS = 8;
/** Less than a tenth of the smallest object. */
const BYTES_MAX = 1.5;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const VIP = "202.103.106.5";
const VIP6 = "2001:db8:5::5";
const CLIENT = "202.100.1.2:4000";
const CLIENT6 = "[2001:db8:1::2]:4000";
const SERVER = "172.16.0.2:80";

function stageOf(scheduler: string): Stage {
  const servers = [2, 3].map((host) => destination(`172.16.0.${host}`, 80));
  return new Stage(
    [
      ...(["tcp", "udp", "sctp"] as const).map((protocol) =>
        service(protocol, VIP, 80, scheduler, ...servers),
      ),
      service("tcp", VIP6, 80, scheduler, destination("fd00:16::2", 80)),
    ],
    { connectionsMax: 1 << 16, repliesPerSecondMax: 1_000_000_000 },
  );
}

/** Bytes of heap per packet, when these packets are given in turn; `vary` makes each one new. */
function bytesPerPacket(
  stage: Stage,
  packets: readonly Uint8Array[],
  vary = (_packet: Packet, _i: number): void => {},
): number {
  const packet = new Packet();
  let now = 0;
  const give = (): void => {
    for (let i = 0; i < PACKETS; i++) {
      packet.load(packets[i % packets.length]!);
      vary(packet, i);
      stage.director.receive(packet, milliseconds(now));
      if ((i & 63) === 0) stage.director.advance(milliseconds(++now));
    }
  };
  give();
  give();
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    collectGarbage();
    const before = getHeapStatistics().used_heap_size;
    give();
    least = Math.min(least, getHeapStatistics().used_heap_size - before);
  }
  return least / PACKETS;
}

describe("bytes allocated per packet", () => {
  const ask = tcp({ from: CLIENT, to: `${VIP}:80`, flags: "S", payload: bytes(100) });
  const ask6 = tcp({ from: CLIENT6, to: `[${VIP6}]:80`, flags: "S" });
  const question = udp({ from: CLIENT, to: `${VIP}:80`, payload: bytes(50) });
  const whole = udp({ from: CLIENT, to: `${VIP}:80`, payload: bytes(2000) });

  test.each<[string, readonly Uint8Array[]]>([
    [
      "known flows, both ways, IPv4 and IPv6",
      [ask, tcp({ from: SERVER, to: CLIENT }), ask6, tcp({ from: "[fd00:16::2]:80", to: CLIENT6 })],
    ],
    ["UDP with and without checksum", [question, udp({ from: CLIENT, to: `${VIP}:80`, checksum: "none" })]],
    ["SCTP", [sctp({ from: CLIENT, to: `${VIP}:80` })]],
    [
      "resets, unreachables, echo",
      [
        tcp({ from: CLIENT, to: `${VIP}:9` }),
        udp({ from: CLIENT, to: `${VIP}:9` }),
        echo({ from: "202.100.1.2", to: VIP }),
      ],
    ],
    [
      "ICMP errors",
      [
        question,
        icmp({ from: "172.16.0.9", to: "202.100.1.2", type: 3, payload: udp({ from: CLIENT, to: SERVER }) }),
      ],
    ],
    ["fragments", fragment(whole, 1500)],
    ["refused packets", [ask.slice(0, 30), ask.slice(0, 10), ask.with(8, 1), new Uint8Array(0)]],
    ["what passes", [udp({ from: CLIENT, to: "198.51.100.1:9" })]],
  ])("%s", (_what, packets) => {
    expect(bytesPerPacket(stageOf("rr"), packets)).toBeLessThan(BYTES_MAX);
  });

  test("known flows that other directors are told of", () => {
    const stage = stageOf("rr");
    new DirectorSync(stage.director, () => {}).start({ role: "master", syncId: 1, lengthMax: 1472 });
    const packets = [ask, tcp({ from: CLIENT, to: `${VIP}:80` }), ask6, question];
    expect(bytesPerPacket(stage, packets)).toBeLessThan(BYTES_MAX);
  });

  test("lines of a connection with a module that announce nothing, also where their beginning is held", () => {
    const ftp = service("tcp", VIP, 21, "rr", destination("172.16.0.2", 21));
    const stage = new Stage([{ ...ftp, app: "ftp" }]);
    stage.send(tcp({ from: CLIENT, to: `${VIP}:21`, flags: "S", seq: 0 }));
    stage.send(tcp({ from: "172.16.0.2:21", to: CLIENT, flags: "SA", seq: 0, ack: 1 }));
    const said = tcp({ from: CLIENT, to: `${VIP}:21`, payload: "NOOP\r\n", checksum: "partial" });
    const letters = Array.from("22 ok\r\n", (letter) =>
      tcp({ from: "172.16.0.2:21", to: CLIENT, payload: letter, checksum: "partial" }),
    );
    const packets = letters.flatMap((letter) => [said, letter]);
    const next = [1, 1];
    const vary = (packet: Packet, i: number): void => {
      const side = i & 1;
      packet.isChecksumPartial = true;
      packet.view.setInt32(packet.at + 24, next[side]! | 0);
      packet.view.setInt32(packet.at + 28, next[1 - side]! | 0);
      next[side]! += side === 0 ? 6 : 1;
    };
    expect(bytesPerPacket(stage, packets, vary)).toBeLessThan(BYTES_MAX);
    expect(stage.control.status().drops).toEqual({});
  });

  test.each(Object.keys(SCHEDULERS).filter((name) => name !== "none"))(
    "new connections, scheduled by %s, and their end",
    (scheduler) => {
      // 50,000 ports, each a new connection or one that is reset and begins again.
      const reset = tcp({ from: CLIENT, to: `${VIP}:80`, flags: "" });
      const vary = (packet: Packet, i: number): void =>
        packet.view.setUint16(packet.at + 20, 1024 + (i >> 1));
      expect(bytesPerPacket(stageOf(scheduler), [ask, reset], vary)).toBeLessThan(BYTES_MAX);
    },
  );
});

/** A service with more to it than servers, one of TCP and one of UDP. */
function stageWith(attributes: Partial<ServiceConfig>, rest: Partial<DirectorConfig> = {}): Stage {
  const servers = [2, 3].map((host) => destination(`172.16.0.${host}`, 80));
  const services = (["tcp", "udp"] as const).map((protocol) => ({
    ...service(protocol, VIP, 80, "wlc", ...servers),
    ...attributes,
  }));
  const stage = new Stage([], { connectionsMax: 1 << 17, repliesPerSecondMax: 1_000_000_000 });
  stage.apply(services, rest);
  return stage;
}

/** Every second packet has another source port, */
const varyPort = (packet: Packet, i: number): void => packet.view.setUint16(packet.at + 20, 1024 + (i >> 1));
/** or another source address; the identification takes up what the IPv4 checksum would have to. */
function varyAddress(packet: Packet, i: number): void {
  const total = packet.view.getUint16(packet.at + 14) + packet.view.getUint16(packet.at + 4);
  packet.view.setUint16(packet.at + 14, i >> 1);
  packet.view.setUint16(packet.at + 4, (total - (i >> 1) + 65_535) % 65_535);
}

describe("bytes allocated per packet of a new connection", () => {
  const syn = tcp({ from: CLIENT, to: `${VIP}:80`, flags: "S" });
  const close = tcp({ from: CLIENT, to: `${VIP}:80`, flags: "" });
  const ask = udp({ from: CLIENT, to: `${VIP}:80`, payload: bytes(50) });
  const invitation = "INVITE sip:a SIP/2.0\r\nCall-ID: a84b4c76e66710\r\n\r\n";
  const persistence = { timeout: seconds(360), netmask: "255.255.255.0" };
  const fullNat = { sources: ["10.9.0.1", "10.9.0.2"], clients: "all" } as const;
  const marks = [{ mark: 7, destination: "192.0.2.0/24", ports: { first: 80, last: 90 } }];
  const marked = { protocol: "fwmark", address: "0.0.0.0", port: 0, mark: 7, scheduler: "rr" } as const;
  const masquerade = [{ from: ["172.16.0.0/24"], sources: ["10.9.0.1", "10.9.0.2"] }];
  const defended = { ...IPVS_DEFAULTS, drop_entry: 3, drop_packet: 3, secure_tcp: 3 } as const;
  const [far, other] = ["198.51.100.1:443", "192.0.2.9:85"];

  test.each<[string, () => Stage, readonly Uint8Array[], typeof varyPort]>([
    ["persistent, of one client", () => stageWith({ persistence }), [syn, close], varyPort],
    ["persistent, of ever other networks", () => stageWith({ persistence }), [syn, close], varyAddress],
    [
      "pinned by Call-ID",
      () => stageWith({ persistence: { ...persistence, engine: "sip" } }),
      [udp({ from: CLIENT, to: `${VIP}:80`, payload: invitation })],
      varyPort,
    ],
    ["one packet long", () => stageWith({ isOnePacket: true }), [ask], varyPort],
    ["one packet long, from a pool", () => stageWith({ isOnePacket: true, fullNat }), [ask], varyPort],
    ["under a pool's addresses", () => stageWith({ fullNat }), [syn, close], varyPort],
    ["under a pool's addresses, the own port taken", () => stageWith({ fullNat }), [syn, close], varyAddress],
    [
      "with a header for the server",
      () => stageWith({ proxyProtocol: "v2" }),
      [syn, tcp({ from: CLIENT, to: `${VIP}:80`, flags: "PA", seq: 2, payload: bytes(99) })],
      varyPort,
    ],
    [
      "by mark",
      () => {
        const stage = stageWith({});
        stage.apply([{ ...marked, destinations: [destination("172.16.0.2", 0)] }], { marks });
        return stage;
      },
      [tcp({ from: CLIENT, to: other, flags: "S" }), tcp({ from: CLIENT, to: other, flags: "" })],
      varyPort,
    ],
    [
      "masqueraded",
      () => stageWith({}, { masquerade }),
      [
        tcp({ from: "172.16.0.2:4000", to: far, flags: "S" }),
        tcp({ from: "172.16.0.2:4000", to: far, flags: "" }),
      ],
      varyPort,
    ],
    [
      "masqueraded, of echo",
      () => stageWith({}, { masquerade }),
      [echo({ from: "172.16.0.2", to: "198.51.100.1" })],
      (packet, i) => packet.view.setUint16(packet.at + 24, i),
    ],
    [
      "under every defence",
      () => {
        const stage = stageWith({});
        const settings = { ...stage.director.settings, ipvs: defended };
        stage.director.configure({ settings, marks: [], masquerade: [] });
        return stage;
      },
      [syn, close],
      varyPort,
    ],
    [
      "taken over from a removed server",
      () => {
        const stage = stageWith({});
        for (let i = 0; i < 25_000; i++)
          stage.send(udp({ from: `202.100.1.2:${1024 + i}`, to: `${VIP}:80`, payload: bytes(50) }));
        const rest = service("udp", VIP, 80, "rr", destination("172.16.0.9", 80));
        stage.apply([{ ...rest, removal: "reschedule" }]);
        return stage;
      },
      [ask],
      varyPort,
    ],
  ])("%s", (_what, make, packets, vary) => {
    const stage = make();
    expect(bytesPerPacket(stage, packets, vary)).toBeLessThan(BYTES_MAX);
    // It was about what its name says: connections were made, and most packets went their way.
    expect(stage.director.createdCount).toBeGreaterThan(20_000);
    expect(stage.director.verdictCounts[VERDICT_KINDS.indexOf("to-server")]).toBeGreaterThan(400_000);
  });
});

test("the measure would notice one small object for each packet", () => {
  const kept: object[] = new Array(PACKETS);
  const noticed = bytesPerPacket(stageOf("rr"), [udp({ from: CLIENT, to: `${VIP}:80` })], (packet, i) => {
    kept[i] = { at: packet.at };
  });
  expect(noticed).toBeGreaterThan(10);
});

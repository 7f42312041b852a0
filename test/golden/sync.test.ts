/**
 * Synchronisation messages that Linux IPVS (6.1) sent, and what its own backup made of them. The listings beside the
 * captures are `ipvsadm -Lcn` of the sender; pair.Lcn.txt is that of the receiving host, 3 seconds after it heard.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { milliseconds, seconds } from "../../src/base/environment.ts";
import type { IpvsSettings, ServiceConfig } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { TCP_STATE_NAMES } from "../../src/nat/protocol/tcp.ts";
import { DirectorSync } from "../../src/sync/director-sync.ts";
import { type SyncEntry, SyncFlag } from "../../src/sync/entry.ts";
import { MessageReader, MessageWriter } from "../../src/sync/message.ts";
import { formatEndpoint } from "../../src/wire/address.ts";
import { readCapture } from "../../src/wire/capture.ts";
import { tcp, udp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

const RECORDINGS = ["default", "every-packet", "persistent", "udp", "version0", "pair"];
/** Ethernet, IPv4 without options, UDP. */
const PAYLOAD_AT = 14 + 20 + 8;
const TEMPLATE_STATES = ["NONE", "ASSURED"];

const file = (name: string): string => new URL(`sync/${name}`, import.meta.url).pathname;

const messagesOf = (name: string): Uint8Array[] =>
  [...readCapture(readFileSync(file(`${name}.pcap`)))].map(({ bytes }) => bytes.subarray(PAYLOAD_AT));

/** As a row of `ipvsadm -Lcn`, with the seconds told in place of those left. */
function rowOf(entry: SyncEntry): string {
  const { family, protocol, state, timeoutSeconds, client, virtual, destination } = entry;
  const names = entry.isTemplate ? TEMPLATE_STATES : protocol === 6 ? TCP_STATE_NAMES : ["UDP"];
  return [
    protocol === 6 ? "TCP" : "UDP",
    timeoutSeconds,
    names[state],
    formatEndpoint(family, client, 0, entry.clientPort),
    formatEndpoint(family, virtual, 0, entry.virtualPort),
    formatEndpoint(family, destination, 0, entry.destinationPort),
  ].join(" ");
}

function rowsOf(name: string): string[] {
  const reader = new MessageReader();
  return messagesOf(name).flatMap((message) => {
    expect(reader.attach(message)).toBeUndefined();
    const rows: string[] = [];
    while (reader.next() === "entry") rows.push(rowOf(reader.entry));
    return rows;
  });
}

describe("messages of Linux IPVS", () => {
  test.each(RECORDINGS)("%s: read to the end, and written again byte for byte", (name) => {
    const reader = new MessageReader();
    for (const message of messagesOf(name)) {
      expect(reader.attach(message)).toBeUndefined();
      const writer = new MessageWriter(1472, reader.syncId, reader.version);
      let outcome = reader.next();
      for (; outcome === "entry"; outcome = reader.next()) expect(writer.add(reader.entry)).toBe(true);
      expect(outcome).toBe("end");
      expect(writer.take()).toEqual(Uint8Array.from(message));
    }
  });

  test("default: what is sent at the third packet, at the fifty-third, and when the state changes", () => {
    expect(rowsOf("default")).toEqual([
      "TCP 900 ESTABLISHED 202.100.1.2:11002 202.103.106.5:80 172.16.0.2:80",
      "TCP 900 ESTABLISHED 202.100.1.2:11003 202.103.106.5:80 172.16.0.3:8000",
      "TCP 60 CLOSE_WAIT 202.100.1.2:11003 202.103.106.5:80 172.16.0.3:8000",
      "TCP 120 TIME_WAIT 202.100.1.2:11003 202.103.106.5:80 172.16.0.3:8000",
      "TCP 900 ESTABLISHED 202.100.1.2:11004 202.103.106.5:80 172.16.0.2:80",
      "TCP 900 ESTABLISHED 202.100.1.2:11004 202.103.106.5:80 172.16.0.2:80",
    ]);
  });

  test("templates and closed connections are inactive, established ones are not", () => {
    const reader = new MessageReader();
    reader.attach(messagesOf("persistent")[0]!);
    const flags = new Set<string>();
    while (reader.next() === "entry") flags.add(`${rowOf(reader.entry).split(" ")[2]} ${reader.entry.flags}`);
    const template = SyncFlag.template | SyncFlag.inactive;
    expect([...flags]).toEqual([
      `NONE ${template}`,
      `ASSURED ${template}`,
      "ESTABLISHED 0",
      `CLOSE_WAIT ${SyncFlag.inactive}`,
      `TIME_WAIT ${SyncFlag.inactive}`,
    ]);
  });
});

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVERS = [destination("172.16.0.2", 80, 1), destination("172.16.0.3", 8000, 2)];
const WEB = service("tcp", VIP, 80, "rr", ...SERVERS);
const DNS = service("udp", VIP, 53, "rr", ...SERVERS);
const sticky = (port: number, timeout: number): ServiceConfig => ({
  ...service("tcp", VIP, port, "rr", ...SERVERS),
  persistence: { timeout: seconds(timeout) },
});

/** A director as a member of a group, with packets played at it. */
class Member {
  readonly stage: Stage;
  readonly sent: Uint8Array[] = [];
  readonly sync: DirectorSync;

  constructor(services: readonly ServiceConfig[], sysctl: Partial<IpvsSettings> = {}) {
    this.stage = new Stage(services, { ipvs: { ...IPVS_DEFAULTS, ...sysctl } });
    this.sync = new DirectorSync(this.stage.director, (message) => this.sent.push(message));
  }

  master(): this {
    this.sync.start({ role: "master", syncId: 7, lengthMax: 1472 });
    return this;
  }

  backup(syncId = 7): this {
    this.sync.start({ role: "backup", syncId, lengthMax: 1472 });
    return this;
  }

  /** Segments such as "c:S s:SA c:A": who sends, and the flags. */
  tcp(client: string, port: number, segments: string): this {
    let server = "";
    for (const segment of segments.split(" ")) {
      const [side, flags] = segment.split(":");
      const from = side === "c" ? client : server;
      const { bytes } = this.stage.send(tcp({ from, to: side === "c" ? `${VIP}:${port}` : client, flags: flags! }));
      if (side === "c") server = targetOf(bytes);
    }
    return this;
  }

  udp(client: string, count: number): this {
    for (let i = 0; i < count; i++) this.stage.send(udp({ from: client, to: `${VIP}:53`, payload: "x" }));
    return this;
  }

  run(seconds: number): this {
    for (let i = 0; i < seconds; i++) {
      this.stage.run(1000);
      this.sync.flush();
    }
    return this;
  }

  /** As `ipvsadm -Lcn` prints it; sorted, because the order there is that of a hash table. */
  listing(): string[] {
    return this.stage
      .connections()
      .map(({ protocol, expiresSeconds: left, state, client, virtual, destination }) => {
        const minutes = `${Math.floor(left / 60)}`.padStart(2, "0");
        const time = `${minutes}:${`${left % 60}`.padStart(2, "0")}`;
        const ends = [client, virtual, destination].map(({ address, port }) => `${address}:${port}`);
        return [protocol.toUpperCase(), time, state, ...ends].join(" ");
      })
      .sort();
  }
}

/** Where an IPv4 packet goes. */
function targetOf(packet: Uint8Array): string {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  return formatEndpoint(4, [view.getInt32(16)], 0, view.getUint16(22));
}

/** A recorded listing, sorted, spaces narrowed; optionally without the column of what is left of its life. */
function recordedListing(name: string): string[] {
  const lines = readFileSync(file(`${name}.Lcn.txt`), "utf8").trim().split("\n").slice(2);
  return lines.map((line) => line.trim().replaceAll(/ +/g, " ")).sort();
}
const withoutTime = (row: string): string => row.replace(/ \d+:\d+ /, " ");

const OPENED = "c:S s:SA c:A c:PA s:PA c:A";
const CLOSED = `${OPENED} c:FA s:FA c:A`;

/** What was played at the kernel's master before each recording. */
const PLAYS: Readonly<Record<string, () => Member>> = {
  default: () =>
    new Member([WEB])
      .master()
      .tcp(`${CLIENT}:11001`, 80, "c:S s:SA c:A")
      .tcp(`${CLIENT}:11002`, 80, OPENED)
      .run(3)
      .tcp(`${CLIENT}:11003`, 80, CLOSED)
      .tcp(`${CLIENT}:11004`, 80, `c:S s:SA c:A${" c:PA s:PA c:A".repeat(30)}`)
      .run(3),
  "every-packet": () =>
    new Member([WEB], { sync_threshold: [1, 2] }).master().tcp(`${CLIENT}:11011`, 80, CLOSED).run(3),
  persistent: () =>
    new Member([sticky(80, 90)])
      .master()
      .tcp(`${CLIENT}:11021`, 80, OPENED)
      .tcp(`${CLIENT}:11022`, 80, CLOSED)
      .run(3),
  udp: () => new Member([DNS]).master().udp(`${CLIENT}:11031`, 5).udp(`${CLIENT}:11032`, 60).run(3),
  version0: () =>
    new Member([WEB], { sync_version: 0 })
      .master()
      .tcp(`${CLIENT}:11041`, 80, OPENED)
      .tcp(`${CLIENT}:11042`, 80, CLOSED)
      .run(3),
  pair: () =>
    new Member([WEB, sticky(81, 120)])
      .master()
      .tcp(`${CLIENT}:11051`, 80, OPENED)
      .tcp(`${CLIENT}:11052`, 80, OPENED)
      .tcp(`${CLIENT}:11053`, 80, CLOSED)
      .tcp(`${CLIENT}:11054`, 81, OPENED)
      .tcp("198.51.100.7:11055", 81, CLOSED)
      .run(330),
};

describe("a director as master", () => {
  test.each(RECORDINGS)("%s: sends what the kernel sent, byte for byte", (name) => {
    expect(PLAYS[name]!().sent.map(hexOf)).toEqual(messagesOf(name).map(hexOf));
  });
});

describe("a director as backup", () => {
  const play = (member: Member, name: string): Member => {
    member.sync.receive(messagesOf(name), milliseconds(0));
    return member;
  };

  test.each(["every-packet", "persistent", "udp", "version0"])("%s: lists what the kernel's master listed", (name) => {
    const member = play(new Member([WEB, DNS]).backup(), name);
    expect(member.listing().map(withoutTime)).toEqual(recordedListing(name).map(withoutTime));
  });

  test("pair: lists what the kernel's backup listed, to the second, destinations it does not know included", () => {
    const member = new Member([service("tcp", VIP, 80, "rr", SERVERS[0]!)]).backup();
    member.sync.receive(messagesOf("pair").slice(0, 1), milliseconds(0));
    member.stage.run(3000);
    expect(member.listing()).toEqual(recordedListing("pair"));
    const [counted] = member.stage.control.status().services[0]!.destinations;
    expect(counted).toMatchObject({ activeConnections: 1, inactiveConnections: 0 });
  });

  test("default: all but the connection that had only two packets from its client", () => {
    const member = play(new Member([WEB]).backup(), "default");
    const told = recordedListing("default").filter((row) => !row.includes(":11001 "));
    expect(member.listing().map(withoutTime)).toEqual(told.map(withoutTime));
  });
});

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

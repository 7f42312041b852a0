/**
 * Synchronisation messages that Linux IPVS (6.1) sent, and what its own backup made of them. The listings beside the
 * captures are `ipvsadm -Lcn` of the sender; pair.Lcn.txt is that of the receiving host, 3 seconds after it heard.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { TCP_STATE_NAMES } from "../../src/nat/protocol/tcp.ts";
import { type SyncEntry, SyncFlag } from "../../src/sync/entry.ts";
import { MessageReader, MessageWriter } from "../../src/sync/message.ts";
import { formatEndpoint } from "../../src/wire/address.ts";
import { readCapture } from "../../src/wire/capture.ts";

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

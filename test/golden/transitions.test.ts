/**
 * The TCP state machine against Linux IPVS, through the director rather than its table: every state that packets can
 * reach, and from each of them every kind of segment from either side, under four settings of the sysctls; and named
 * sequences with the counters after each segment, to the end of the entry.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { IpvsSettings } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { census } from "../support/census.ts";
import { tcp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

interface Transition {
  /** null: the entry is gone. */
  readonly to: string | null;
  /** Seconds; 0: gone as soon as its timer runs. */
  readonly expires: number | null;
  readonly forwarded: boolean;
}

interface FirstPacket {
  readonly entry: string | null;
  readonly expires: number | null;
  /** What left, as "side: from > to tcp flags". */
  readonly seen: readonly string[];
}

interface Machine {
  readonly sysctl: Partial<IpvsSettings>;
  readonly first_packet: Readonly<Record<string, FirstPacket>>;
  /** Segments from the beginning, as "c:SA": the side and its flags. */
  readonly reached_by: Readonly<Record<string, readonly string[]>>;
  readonly table: Readonly<Record<string, Readonly<Record<string, Transition>>>>;
}

/** A named sequence of segments, half a second apart. */
interface Sequence {
  readonly client_port: number;
  readonly steps: readonly {
    /** As in Machine. */
    readonly send: string;
    readonly seen: readonly string[];
    readonly state: string | null;
    readonly expires: number | null;
    /** Of every destination, the newest first. */
    readonly active_inactive: readonly (readonly [number, number])[];
  }[];
  /** Seconds after the last segment. */
  readonly gone_after_s: number;
}

const read = (name: string): object =>
  JSON.parse(readFileSync(new URL(`ipvs/${name}`, import.meta.url), "utf8"));
const MACHINES = Object.entries(read("transitions/transitions.json")) as [string, Machine][];
const SEQUENCES = Object.entries(read("states/states.json")) as [string, Sequence][];

const CLIENT = "202.100.1.2:22000";
const VIRTUAL = "202.103.106.5:80";
const ONE_SERVER = [destination("172.16.0.2", 80)];
const TWO_SERVERS = [...ONE_SERVER, destination("172.16.0.3", 8000, 2)];

class Connection {
  readonly stage: Stage;
  /** Where the client's last segment went. */
  #server = "";

  constructor(sysctl: Partial<IpvsSettings>, destinations = ONE_SERVER) {
    const one = service("tcp", "202.103.106.5", 80, "rr", ...destinations);
    this.stage = new Stage([one], { ipvs: { ...IPVS_DEFAULTS, ...sysctl } });
  }

  /** @param event - "c:SA" or "s:": who sends, and the flags. @returns what left, as the recording has it */
  play(event: string): string[] {
    const [side, flags = ""] = event.split(":");
    const ends = side === "c" ? { from: CLIENT, to: VIRTUAL } : { from: this.#server, to: CLIENT };
    const { verdict, out } = this.stage.send(tcp({ ...ends, flags }));
    const texts = out.map(formatPacket);
    if (verdict !== "to-server") return texts.map((text) => `client: ${text}`);
    this.#server = / > (\S+) /.exec(texts[0]!)![1]!;
    return texts.map((text) => `server: ${text}`);
  }

  /** "SYN_RECV 60", or "gone". */
  get entry(): string {
    const [entry] = this.stage.connections();
    return entry === undefined ? "gone" : `${entry.state} ${entry.expiresSeconds}`;
  }
}

/** Active and inactive connections of every destination, the newest first. */
const loads = ({ stage }: Connection): number[][] =>
  stage.control
    .status()
    .services[0]!.destinations.map((one) => [one.activeConnections, one.inactiveConnections]);

const entryText = (state: string | null, expires: number | null): string =>
  state === null || expires === 0 ? "gone" : `${state} ${expires}`;

/** A packet's ends and flags, whatever the client's port, which counts up in the recording, and the order of the flags. */
function essence(packet: string): string {
  const [, face, from, to, flags = ""] = /^(\w+): (\S+) > (\S+) tcp ?([A-Z]*)/.exec(packet)!;
  const isClient = (end: string) => end.startsWith("202.100.1.2:");
  const [source, target] = [from!, to!].map((end) => (isClient(end) ? CLIENT : end));
  return `${face}: ${source} > ${target} ${[...flags].sort().join("")}`;
}

test("the recording is there in full", () => {
  const counts = MACHINES.map(([name, { table }]) => [name, Object.keys(table).length]);
  expect(Object.fromEntries(counts)).toEqual({
    default: 7,
    "conn_reuse_mode=0": 7,
    "secure_tcp=3": 8,
    "sloppy_tcp=1": 7,
  });
  for (const [, { first_packet, table }] of MACHINES) {
    expect(Object.keys(first_packet)).toHaveLength(12);
    for (const row of Object.values(table)) expect(Object.keys(row)).toHaveLength(22);
  }
});

describe.each(MACHINES)("%s", (_, { sysctl, first_packet, reached_by, table }) => {
  test("the first segment of an unknown flow", () => {
    for (const [flags, { entry, expires, seen }] of Object.entries(first_packet)) {
      const it = new Connection(sysctl);
      const left = it.play(`c:${flags === "none" ? "" : flags}`);
      expect([flags, it.entry, left.map(essence)]).toEqual([
        flags,
        entryText(entry, expires),
        seen.map(essence),
      ]);
      expect(census(it.stage.director)).toEqual([]);
    }
  });

  test.each(Object.entries(table))("from %s", (state, row) => {
    for (const [event, { to, expires, forwarded }] of Object.entries(row)) {
      const it = new Connection(sysctl);
      for (const segment of reached_by[state]!) it.play(segment);
      expect(it.entry.split(" ")[0]).toBe(state);
      const isForwarded = it.play(event).length > 0;
      expect([event, it.entry, isForwarded]).toEqual([event, entryText(to, expires), forwarded]);
      expect(census(it.stage.director)).toEqual([]);
    }
  });
});

describe("named sequences", () => {
  test("the recording is there in full", () => {
    expect(SEQUENCES).toHaveLength(23);
  });

  test.each(SEQUENCES)("%s", (_, { steps, gone_after_s }) => {
    const it = new Connection({}, TWO_SERVERS);
    for (const { send, seen, state, expires, active_inactive } of steps) {
      const hadEnded = /^(TIME_WAIT|CLOSE) /.test(it.entry);
      const left = it.play(send).map(essence);
      // The kernel counts an entry that a SYN replaces until its timer runs, a moment later.
      const wanted =
        send === "c:S" && hadEnded ? active_inactive.map(([active]) => [active, 0]) : active_inactive;
      expect([send, left, it.entry, loads(it)]).toEqual([
        send,
        seen.map(essence),
        entryText(state, expires),
        wanted,
      ]);
      expect(census(it.stage.director)).toEqual([]);
      it.stage.run(500);
    }
    // The kernel's timers are up to an eighth late.
    it.stage.run(gone_after_s * 1000 - 500);
    expect(it.entry).toBe("gone");
  });
});

/**
 * Persistence against Linux IPVS: recorded cases of commands, connections and listings, made again step by step.
 *
 * Readings of "expires" agree to the second, which is as exact as the recordings are. The kernel's timers fire up to an
 * eighth late, the director's on time; so entries with a second left or less are not compared, and of a template that
 * outlived its time, because connections hung on it, only that it lives.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { formatAddress } from "../../src/wire/address.ts";
import { Administered } from "../support/administered.ts";
import { census } from "../support/census.ts";
import { tcp } from "../support/packet-builder.ts";
import { IPVS_SETTINGS } from "../support/replayed.ts";

interface RecordedEntry {
  readonly pro: string;
  readonly caddr: string;
  readonly cport: number;
  readonly vaddr: string;
  readonly vport: number;
  readonly daddr: string;
  readonly dport: number;
  readonly state: string;
  readonly expires: number;
}

const VIP = "202.103.106.5";

/** Protocol, client address and port, state, expires. */
type Reading = readonly [string, string, number, string, number];

/** One recorded step; what is in it depends on the first word of `op`. */
interface Step {
  readonly op: readonly [string, ...(string | number)[]];
  /** Of a connection: the destination it got. */
  readonly got?: string;
  readonly conns?: readonly RecordedEntry[];
  /** As ipvsadm -Ln --nosort. */
  readonly Ln?: string;
  /** Seconds since the first such reading of the case in a row. */
  readonly after?: number;
  readonly entries?: readonly Reading[];
}

interface Case {
  readonly name: string;
  readonly commands: readonly string[];
  readonly log: readonly Step[];
}

const CASES: readonly Case[] = JSON.parse(
  readFileSync(new URL("ipvs/persist/persist.json", import.meta.url), "utf8"),
);

/** An entry's text and its seconds left. */
type Entry = readonly [string, number];

class Run {
  readonly #director: Administered;
  /** Servers of connections, by the client's end. */
  readonly #servers = new Map<string, string>();
  /** Client addresses of templates that outlived their time. */
  readonly #outlived = new Set<string>();
  #watchedMs = 0;

  /** @param name - of the case; a sysctl is part of it */
  constructor(name: string) {
    const [, sysctl, value] = /(\w+)=(\d+)/.exec(name) ?? [];
    const ipvs = { ...IPVS_SETTINGS.ipvs, ...(sysctl !== undefined && { [sysctl]: Number(value) }) };
    // What netfilter did for the recording of a mark service; the others do not care.
    const marks = [{ mark: 9, destination: `${VIP}/32` }];
    this.#director = new Administered({ marks, settings: { ...IPVS_SETTINGS, ipvs } });
    const { director } = this.#director.stage;
    director.observer = {
      packetSeen: () => {},
      prolonged: (record) => this.#outlived.add(this.#clientOf(record)),
    };
  }

  async command(line: string): Promise<void> {
    const finished = await this.#director.vsadm(line.replace(/^ipvsadm /, ""));
    expect(finished).toEqual({ status: 0, stdout: "", stderr: "" });
  }

  async step({ op, got, conns = [], Ln, after, entries = [] }: Step): Promise<void> {
    const { stage } = this.#director;
    const [verb, first, port, virtualPort] = op;
    const ends = { from: `${first}:${port}`, to: `${VIP}:${virtualPort}` };
    if (verb !== "until-empty") this.#watchedMs = stage.now;
    switch (verb) {
      case "run":
        return await this.command(String(first));
      case "wait":
        return stage.run(Number(first) * 1000);
      case "open":
        expect(this.#open(ends)).toBe(got);
        break;
      case "close":
        this.#close(ends);
        break;
      case "list": {
        const recorded = conns.map((one): Entry => {
          const { pro, caddr, cport, vaddr, vport, daddr, dport, state, expires } = one;
          return [`${pro} ${state} ${caddr}:${cport} ${vaddr}:${vport} ${daddr}:${dport}`, expires];
        });
        this.#compare(this.#entries(true), recorded);
        expect((await this.#director.vsadm("-Ln --nosort")).stdout).toBe(Ln);
        break;
      }
      case "until-empty": {
        stage.run(this.#watchedMs + after! * 1000 - stage.now);
        const recorded = entries.map(
          ([pro, client, port, state, expires]): Entry => [`${pro} ${state} ${client}:${port}`, expires],
        );
        this.#compare(this.#entries(false), recorded);
        if (recorded.length > 0) break;
        // A template that was prolonged a moment before its last connection went lives for another minute.
        stage.run(60_000);
        expect(stage.connections()).toEqual([]);
        break;
      }
      default:
        throw new Error(`no such step: ${verb}`);
    }
    expect(census(stage.director)).toEqual([]);
  }

  /** A whole handshake. @returns the server that got it */
  #open(ends: { from: string; to: string }): string {
    const { stage } = this.#director;
    const { bytes } = stage.send(tcp({ ...ends, flags: "S" }));
    const view = new DataView(bytes.buffer);
    const server = `${formatAddress(4, [view.getInt32(16)])}:${view.getUint16(22)}`;
    this.#servers.set(ends.from, server);
    expect(stage.send(tcp({ from: server, to: ends.from, flags: "SA" })).verdict).toBe("to-client");
    expect(stage.send(tcp({ ...ends, flags: "A" })).verdict).toBe("to-server");
    this.#outlived.delete(this.#clientOf(this.#templateOf(view.getUint16(20))));
    return server;
  }

  #close(ends: { from: string; to: string }): void {
    const { stage } = this.#director;
    stage.send(tcp({ ...ends, flags: "FA" }));
    stage.send(tcp({ from: this.#servers.get(ends.from)!, to: ends.from, flags: "FA" }));
    stage.send(tcp({ ...ends, flags: "A" }));
  }

  /** The template that the connection of this client port hangs on. */
  #templateOf(port: number): number {
    const { connections } = this.#director.stage.director;
    for (let record = 0; record < connections.highWater; record++)
      if (connections.isLive(record) && connections.clientPort(record) === port)
        return connections.controller(record);
    return -1;
  }

  #clientOf(record: number): string {
    const { connections } = this.#director.stage.director;
    return `${formatAddress(4, connections.words, connections.clientAt(record))}:0`;
  }

  #entries(isWhole: boolean): Entry[] {
    return this.#director.stage.connections().map(({ protocol, state, expiresSeconds, ...ends }) => {
      const [client, virtual, server] = [ends.client, ends.virtual, ends.destination].map(
        ({ address, port }) => `${address}:${port}`,
      );
      const text = `${protocol.toUpperCase()} ${state} ${client}`;
      return [isWhole ? `${text} ${virtual} ${server}` : text, expiresSeconds];
    });
  }

  #compare(made: Entry[], recorded: Entry[]): void {
    const hasOutlived = (text: string) => this.#outlived.has(text.split(" ")[2]!);
    const wanted = new Map(recorded);
    const isCompared = ([text, expires]: Entry) => expires > 1 && !hasOutlived(text);
    const texts = (entries: Entry[]) => entries.filter(isCompared).map(([text]) => text);
    expect(texts(made).sort()).toEqual(texts(recorded).sort());
    for (const one of made.filter(isCompared)) expect([one[0], difference(one, wanted)]).toEqual([one[0], 0]);
  }
}

/** Seconds that a reading is off beyond the one that recordings are exact to. */
function difference([text, expires]: Entry, wanted: ReadonlyMap<string, number>): number {
  return Math.max(0, Math.abs(expires - wanted.get(text)!) - 1);
}

describe("persistent services", () => {
  test("the recording is there in full", () => {
    const verbs = CASES.flatMap(({ log }) => log.map(({ op }) => op[0]));
    const counted = ["open", "close", "list", "until-empty"].map(
      (verb) => verbs.filter((one) => one === verb).length,
    );
    expect([CASES.length, ...counted]).toEqual([8, 43, 10, 17, 12]);
  });

  test.each(CASES.map((one) => [one.name, one] as const))("%s", async (name, { commands, log }) => {
    const run = new Run(name);
    for (const command of commands) await run.command(command);
    for (const step of log) await run.step(step);
  });
});

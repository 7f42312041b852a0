/**
 * Every scheduler against Linux IPVS: the pick sequences a real kernel (6.1, one processor) was recorded to
 * make, made again by the director from the same connections. twos draws at random: its shares are compared
 * instead.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  type DestinationConfig,
  type MarkRule,
  SCHEDULER_FLAGS,
  type ServiceConfig,
} from "../../src/nat/configuration.ts";
import { formatAddress } from "../../src/wire/address.ts";
import { census } from "../support/census.ts";
import { tcp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";

const VIP = "202.103.106.5";
/** By letter, as in the recordings. */
const ADDRESSES = ["172.16.0.2", "172.16.0.3", "172.16.0.4"];
const PORTS = [80, 8000, 80];

type Mode = "open" | "closed";

const lines = (name: string): string[] =>
  readFileSync(new URL(`ipvs/${name}/picks.txt`, import.meta.url), "utf8").split("\n");
const about = (name: string) =>
  JSON.parse(readFileSync(new URL(`ipvs/${name}/about.json`, import.meta.url), "utf8"));

const CLIENTS: readonly string[] = about("sched").clients;

interface Series {
  readonly scheduler: string;
  readonly flags: string[];
  readonly weights: number[];
  readonly mode: Mode;
  readonly picks: string;
  /** Connections by letter in the end: "A:10"; multidest has none. */
  readonly counts: string[];
}

/** The lines of a picks.txt: "sh -b sh-port  open  BBAB...  A:6 B:13 C:11", under the weights that apply. */
function seriesOf(name: string): Series[] {
  let weights: number[] = [];
  return lines(name).flatMap((line) => {
    if (line.startsWith("# ")) {
      weights = [...line.matchAll(/weight (\d+)/g)].map(([, weight]) => Number(weight));
    }
    const found = /^(\w+)(?: -b (\S+))? +(open|closed) +([ABC-]+)(.*)/.exec(line);
    if (found === null) return [];
    const [, scheduler = "", flags, mode, picks = "", counts = ""] = found;
    const series = { scheduler, flags: flags?.split(",") ?? [], weights, mode: mode as Mode, picks };
    return [{ ...series, counts: counts.match(/[ABC]:\d+/g) ?? [] }];
  });
}

const flagsOf = (names: readonly string[]) => SCHEDULER_FLAGS.filter((flag) => names.includes(flag));
const titleOf = ({ scheduler, flags, weights, mode }: Series) =>
  [scheduler, ...flags, weights.join(","), mode].join(" ");

/** A director with one service, and clients that open connections to it. */
class Connections {
  readonly stage: Stage;

  constructor(config: ServiceConfig, marks: readonly MarkRule[] = []) {
    this.stage = new Stage([]);
    this.stage.apply([config], { marks });
  }

  /** One connection, kept open or closed by both. @returns the letter of its destination, "-" when refused */
  make(client: string, mode: Mode, virtual = `${VIP}:80`): string {
    const toServer = (flags: string) => this.stage.send(tcp({ from: client, to: virtual, flags }));
    const first = toServer("S");
    if (first.verdict === "reply") return "-";
    const view = new DataView(first.bytes.buffer);
    const server = formatAddress(4, [view.getInt32(16)]);
    const from = `${server}:${view.getUint16(22)}`;
    const toClient = (flags: string) => this.stage.send(tcp({ from, to: client, flags }));
    toClient("SA");
    toServer("A");
    if (mode === "closed") {
      toServer("FA");
      toClient("FA");
      toServer("A");
    }
    return "ABC"[ADDRESSES.indexOf(server)]!;
  }

  picks(from: number, count: number, mode: Mode): string {
    const clients = Array.from({ length: count }, (_, i) => CLIENTS[(from + i) % CLIENTS.length]!);
    return clients.map((client) => this.make(client, mode)).join("");
  }

  /** Active or inactive connections as the director shows them, as in Series. */
  counts(mode: Mode): string[] {
    const shown = this.stage.control.status().services[0]!.destinations.map((one) => {
      const count = mode === "open" ? one.activeConnections : one.inactiveConnections;
      return `${"ABC"[ADDRESSES.indexOf(one.address)]}:${count}`;
    });
    return shown.filter((text) => !text.endsWith(":0")).sort();
  }
}

type Described = Pick<Series, "scheduler" | "flags" | "weights">;

const configOf = ({ scheduler, flags, weights }: Described): ServiceConfig => ({
  ...service("tcp", VIP, 80, scheduler),
  schedulerFlags: flagsOf(flags),
  destinations: weights.map((weight, i) => destination(ADDRESSES[i]!, PORTS[i]!, weight)),
});

describe("sched: thirty connections, five sets of weights, kept open and closed", () => {
  const all = seriesOf("sched");

  test("the recording is there in full", () => {
    expect(all).toHaveLength(5 * 18 * 2);
    expect(new Set(all.map(({ scheduler }) => scheduler)).size).toBe(14);
  });

  test.each(all.filter(({ scheduler }) => scheduler !== "twos").map((series) => [titleOf(series), series]))(
    "%s",
    (_, series) => {
      const it = new Connections(configOf(series));
      expect(it.picks(0, 30, series.mode)).toBe(series.picks);
      expect(it.counts(series.mode)).toEqual(series.counts);
      expect(census(it.stage.director)).toEqual([]);
    },
  );

  test.each(all.filter(({ scheduler }) => scheduler === "twos").map((series) => [titleOf(series), series]))(
    "%s: shares",
    (_, series) => {
      const share = (picks: string) => [..."ABC"].map((letter) => picks.split(letter).length - 1);
      const made = share(new Connections(configOf(series)).picks(0, 30, series.mode));
      share(series.picks).forEach((count, i) => {
        // The choice of the less loaded keeps both near the weights' shares.
        expect(Math.abs(made[i]! - count)).toBeLessThanOrEqual(4);
      });
    },
  );
});

describe("multidest: one service by firewall mark, over ten virtual addresses", () => {
  const { config } = about("multidest") as { config: { vaddrs: string[]; port: number; mark: number } };
  const { vaddrs, port, mark } = config;
  const marks = vaddrs.map(
    (address): MarkRule => ({
      mark,
      protocol: "tcp",
      destination: `${address}/32`,
      ports: { first: port, last: port },
    }),
  );

  test.each(seriesOf("multidest").map((series) => [titleOf(series), series]))("%s", (_, series) => {
    const { destinations, ...rest } = configOf(series);
    const wanted: ServiceConfig = {
      ...rest,
      protocol: "fwmark",
      address: "0.0.0.0",
      port: 0,
      mark,
      destinations: destinations.map((one) => ({ ...one, port: 0 })),
    };
    const it = new Connections(wanted, marks);
    const made = CLIENTS.map((client, i) =>
      it.make(client, series.mode, `${vaddrs[i % vaddrs.length]}:${port}`),
    );
    expect(made.join("")).toBe(series.picks);
    expect(census(it.stage.director)).toEqual([]);
  });
});

describe("changes: edits of weights, destinations and scheduler in mid-series", () => {
  const stories = lines("changes").join("\n").split(/^## /m).slice(1);

  test.each(stories.map((story) => story.trim().split("\n")))("%s", (name, ...steps) => {
    let wanted = configOf({ scheduler: name!, flags: [], weights: [1, 2] });
    const it = new Connections(wanted);
    let made = 0;
    for (const step of steps) {
      const [head, count, mode] = /^(\d+) connections, kept (\w+): /.exec(step) ?? [];
      if (head === undefined) {
        wanted = edited(wanted, step);
        it.stage.apply([wanted]);
        continue;
      }
      expect(head + it.picks(made, Number(count), mode as Mode)).toBe(step);
      made += Number(count);
    }
    expect(made).toBe(30);
    expect(census(it.stage.director)).toEqual([]);
  });
});

/** What an ipvsadm command makes of a service. */
function edited(config: ServiceConfig, command: string): ServiceConfig {
  const [, scheduler] = /-E .* -s (\w+)/.exec(command) ?? [];
  if (scheduler !== undefined) return { ...config, scheduler };
  const [, verb, address, port, weight] = /-([aed]) -t \S+ -r (\S+):(\d+)(?: -m -w (\d+))?/.exec(command)!;
  const one = destination(address!, Number(port), Number(weight));
  const isIt = ({ address }: DestinationConfig) => address === one.address;
  const { destinations } = config;
  if (verb === "a") return { ...config, destinations: [...destinations, one] };
  if (verb === "d") return { ...config, destinations: destinations.filter((other) => !isIt(other)) };
  return { ...config, destinations: destinations.map((other) => (isIt(other) ? one : other)) };
}

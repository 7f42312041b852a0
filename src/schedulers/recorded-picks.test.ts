/**
 * Which server each new connection goes to, against a recorded kernel: series of connections kept open or closed at once,
 * and edits in mid-series, made through the director with real segments.
 */
import { describe, expect, test } from "vitest";
import { referenceLines } from "../../test/golden/reference/reference-table.ts";
import { census } from "../../test/support/census.ts";
import { tcp } from "../../test/support/packet-builder.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { DestinationConfig, ServiceConfig } from "../nat/configuration.ts";

const VIP = "202.103.106.5";
const ENDPOINTS: Record<string, string> = { A: "172.16.0.2:80", B: "172.16.0.3:8000", C: "172.16.0.4:80" };
const LINES = referenceLines("scheduler-picks.txt");
const CLIENTS = LINES[0]!.split(" ").slice(1);
const LETTERS = ["A", "B", "C"];

/** A new connection, kept open or closed by the client at once. @returns the server's letter, "-" for none */
function connect(stage: Stage, client: string, mode: string): string {
  const send = (flags: string) => stage.send(tcp({ from: client, to: `${VIP}:80`, flags }));
  const { verdict, bytes } = send("S");
  if (verdict !== "to-server") return "-";
  const port = (bytes[22]! << 8) | bytes[23]!;
  const server = `${[...bytes.subarray(16, 20)].join(".")}:${port}`;
  const answer = (flags: string) => stage.send(tcp({ from: server, to: client, flags }));
  answer("SA");
  send("A");
  if (mode === "closed") {
    send("FA");
    answer("FA");
    send("A");
  }
  return LETTERS.find((letter) => ENDPOINTS[letter] === server)!;
}

function server(letter: string, weight: number): DestinationConfig {
  const [address, port] = ENDPOINTS[letter]!.split(":");
  return destination(address!, Number(port), weight);
}

describe("a fresh service", () => {
  let weights: number[] = [];
  const series = LINES.slice(1).flatMap((line) => {
    if (line.startsWith("#"))
      weights = [...line.matchAll(/weight (\d+)/g)].map(([, weight]) => Number(weight));
    const [name, mode, picks, ...counts] = line.split(/\s+/);
    return line.startsWith("#") ? [] : [{ name: name!, weights, mode: mode!, picks: picks!, counts }];
  });

  test("there are 5 sets of weights, 4 schedulers, 2 modes", () => {
    expect(series).toHaveLength(40);
  });

  test.each(series)("$name, weights $weights, $mode", ({ name, weights: ofServers, mode, picks, counts }) => {
    const servers = ofServers.map((weight, index) => server(LETTERS[index]!, weight));
    const stage = new Stage([service("tcp", VIP, 80, name, ...servers)]);
    expect(CLIENTS.map((client) => connect(stage, client, mode)).join("")).toBe(picks);
    const shown = stage.control.status().services[0]!.destinations.flatMap((one) => {
      const letter = LETTERS.find((candidate) => ENDPOINTS[candidate] === `${one.address}:${one.port}`)!;
      const count = mode === "open" ? one.activeConnections : one.inactiveConnections;
      return count === 0 ? [] : [`${letter}:${count}`];
    });
    expect(shown.sort()).toEqual(counts);
    expect(census(stage.director)).toEqual([]);
  });
});

describe("a service edited in mid-series", () => {
  const scripts = referenceLines("scheduler-changes.txt").join("\n").split("## ").slice(1);

  test("there are 4 schedulers", () => {
    expect(scripts).toHaveLength(4);
  });

  test.each(scripts.map((script) => script.trim().split("\n")))("%s", (name, ...lines) => {
    let wanted: ServiceConfig = service("tcp", VIP, 80, name, server("A", 1), server("B", 2));
    const stage = new Stage([wanted]);
    let connectionCount = 0;
    for (const line of lines) {
      const [, count, mode, picks] = /^(\d+) connections, kept (\w+): (\S+)/.exec(line) ?? [];
      if (count === undefined) {
        wanted = edited(wanted, line);
        stage.control.apply([wanted]);
        continue;
      }
      const made = Array.from({ length: Number(count) }, () => {
        connectionCount++;
        return connect(stage, `202.100.1.2:${30_000 + connectionCount}`, mode!);
      });
      expect(`${line.split(":")[0]}: ${made.join("")}`).toBe(line);
      expect(picks).toHaveLength(Number(count));
    }
    expect(census(stage.director)).toEqual([]);
  });
});

/** What an ipvsadm command makes of a service. */
function edited(config: ServiceConfig, command: string): ServiceConfig {
  const scheduler = /-E .* -s (\w+)/.exec(command)?.[1];
  if (scheduler !== undefined) return { ...config, scheduler };
  const [, verb, , endpoint, weight] = /-([aed]) -t (\S+) -r (\S+)(?: -m -w (\d+))?/.exec(command)!;
  const letter = LETTERS.find((candidate) => ENDPOINTS[candidate] === endpoint)!;
  const isIt = (one: DestinationConfig) => `${one.address}:${one.port}` === endpoint;
  const others = config.destinations.filter((one) => !isIt(one));
  if (verb === "d") return { ...config, destinations: others };
  if (verb === "a") return { ...config, destinations: [...others, server(letter, Number(weight))] };
  const destinations = config.destinations.map((one) => (isIt(one) ? server(letter, Number(weight)) : one));
  return { ...config, destinations };
}

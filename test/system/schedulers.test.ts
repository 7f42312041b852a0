/**
 * Which server each connection goes to, end to end: the recordings of Linux IPVS played again with real connections over TUN,
 * from the same client addresses and ports to the same virtual service.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import {
  addClientAddresses,
  type Balancing,
  buildBalancing,
  connectionsGone,
  namesOf,
  openSeries,
  startNameServers,
} from "../support/balancing.ts";

const about = JSON.parse(
  readFileSync(new URL("../golden/ipvs/sched/about.json", import.meta.url), "utf8"),
) as { clients: string[] };
const LINES = readFileSync(new URL("../golden/ipvs/sched/picks.txt", import.meta.url), "utf8").split("\n");
/** The recording's own layout: weights 1, 2, 3 in the order in which the servers were added. */
const FIRST_SET = LINES.slice(
  0,
  LINES.findIndex((line, at) => at > 3 && line.startsWith("#")),
);

/** What Linux IPVS picked with connections kept open, in letters. */
function recordedPicks(scheduler: string): string {
  const line = FIRST_SET.find((text) => text.startsWith(`${scheduler} `) && / open +/.test(text));
  return / open +(\S+)/.exec(line!)![1]!;
}

let balancing: Balancing;

beforeAll(async () => {
  balancing = await buildBalancing();
  await addClientAddresses(
    balancing,
    about.clients.map((client) => client.split(":")[0]!),
  );
  await startNameServers(balancing, 80, 8000);
  await balancing.daemon.start(configuration("rr"));
});
afterAll(() => balancing?.laboratory.close());

const configuration = (scheduler: string, flags = ""): string => `services:
  - listen: tcp://${VIP.ipv4}:80
    scheduler: ${scheduler}
    ${flags && `schedulerFlags: [${flags}]`}
    servers:
      - { address: 172.16.0.2:80, weight: 1 }
      - { address: 172.16.0.3:8000, weight: 2 }
      - { address: 172.16.0.4:80, weight: 3 }
timeouts: { tcp: { close: 1s } }
`;

/** A service made anew, when every connection of the one before is gone, as when it was recorded. */
async function restart(scheduler: string, flags = ""): Promise<void> {
  const { daemon } = balancing;
  await daemon.reload("services: []\n");
  await connectionsGone(balancing);
  await daemon.reload(configuration(scheduler, flags));
}

describe("thirty connections kept open", () => {
  test.each([
    ["rr", ""],
    ["wrr", ""],
    ["lc", ""],
    ["wlc", ""],
    ["sh", ""],
    ["sh", "sh-port"],
    ["dh", ""],
    ["mh", ""],
    ["mh", "mh-port"],
  ])("%s %s picks as Linux IPVS did", async (scheduler, flags) => {
    await restart(scheduler, flags);
    const { program, answers } = await openSeries(balancing.client, VIP.ipv4, 80, about.clients);
    program.tell("bye"); // by reset, so that the same client ports are free for the next series
    await program.result();
    const recorded = recordedPicks(flags === "" ? scheduler : `${scheduler} -b ${flags}`);
    expect(recorded).toHaveLength(30);
    expect(namesOf(answers), answers.join("\n")).toBe(recorded);
    // The servers see the clients' own addresses and ports.
    expect(answers.map((answer) => answer.slice(2).replace(" ", ":"))).toEqual(about.clients);
  });
});

/** FTP control and data connections recorded with Linux IPVS and its ip_vs_ftp, packet by packet. */
import { describe, expect, test } from "vitest";
import type { SidedPacket } from "../../src/datapath/replay/two-sided-capture.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { destination, RecordedRun, readRecording, service, testDirector } from "../support/replayed.ts";

const VIP = "202.103.106.5";
const SERVER = "172.16.0.3";

/**
 * In the order in which one packet followed from another, which the times do not tell: no time passed while hosts computed.
 * What leaves to the client came from the server just before.
 */
function record(name: string): SidedPacket[] {
  const packets = readRecording(new URL(`ipvs/ftp/${name}`, import.meta.url).pathname, [VIP], [SERVER]);
  const fromServer = packets.filter(({ side }) => side === "server");
  const ordered = packets
    .filter(({ side }) => side === "client")
    .flatMap((packet) => {
      if (packet.hasArrived) return [packet];
      return [...fromServer.splice(0, fromServer.findIndex((one) => one.hasArrived) + 1), packet];
    });
  return [...ordered, ...fromServer];
}

/** By case: packets, and Conns, InPkts, OutPkts, InBytes, OutBytes as `ipvsadm -Ln --stats` had them at the end. */
const CASES = [
  ["active", 102, [1, 27, 24, 1548, 2252], { rewritten: 0, announced: 2, begun: 2 }],
  ["active-eprt", 68, [1, 18, 16, 1029, 1382], { rewritten: 0, announced: 1, begun: 1 }],
  ["passive", 98, [1, 27, 22, 1508, 2148], { rewritten: 2, announced: 2, begun: 2 }],
  ["passive-epsv", 66, [1, 18, 15, 1007, 1327], { rewritten: 0, announced: 1, begun: 1 }],
] as const;

describe("recordings of Linux IPVS with ip_vs_ftp", () => {
  test.each(CASES)("%s", (name, packets, counters, did) => {
    const ftp = service("tcp", VIP, 21, "rr", destination(SERVER, 21));
    const run = new RecordedRun(record(name), testDirector([{ ...ftp, app: "ftp" }]));
    run.run();
    const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? "nothing" : formatPacket(bytes));
    const differences = run
      .differences()
      .map(({ side, made, recorded }) => `${side}: ${text(made)} | ${text(recorded)}`);
    expect(differences).toEqual([]);
    expect(run.recorded.length + run.made.length).toBe(packets);
    const status = run.control.status();
    expect(Object.values(status.services[0]!.counters)).toEqual(counters);
    expect(status.applications.find(({ name }) => name === "ftp")!.counters).toMatchObject(did);
  });
});

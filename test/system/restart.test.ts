/**
 * The director ends and another begins, by SIGKILL and by a hand-over, while real programs use it: no connection is reset, no
 * byte is wrong, and nobody has to begin anew.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";

const web = { protocol: "tcp", port: 80, scheduler: "rr", a: [80, 1], b: [80, 1] } as const;
const bulk = { protocol: "tcp", port: 5201, a: [5201, 1] } as const;
const DOWNLOAD_BYTES = 512 * 2 ** 20;

let founding: Founding;
const configuration = (): string => configurationText(founding, [web, bulk]);
const CONFIGURATION = (): string => configurationText(founding, [web, bulk]);

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB } = founding;
  await startServer(serverA, "http-server", "A", 80);
  await startServer(serverB, "http-server", "B", 80);
  await serverA.namespace.start(["iperf3", "-s", "--forceflush"]).waitFor(/listening/);
  await founding.daemon.start(CONFIGURATION());
});
afterAll(() => founding?.laboratory.close());

/** Programs that are busy over the director. */
class Load {
  readonly bulk: Program;
  readonly kept: Program;
  readonly kept6: Program;
  readonly download: Program;

  constructor() {
    const { namespace } = founding.client;
    this.bulk = namespace.start([
      "iperf3",
      "-c",
      VIP.ipv4,
      "-t",
      "60",
      "-b",
      "400M",
      "--forceflush",
      "-i",
      "1",
    ]);
    this.kept = namespace.start(testProgram("kept-connections", `http://${VIP.ipv4}/kept`, 150, 200));
    this.kept6 = namespace.start(testProgram("kept-connections", `http://[${VIP.ipv6}]/kept`, 50, 200));
    const url = `http://${VIP.ipv4}/stream?bytes=${DOWNLOAD_BYTES}`;
    const script = `curl --silent --show-error --limit-rate 100M "${url}" | sha256sum`;
    this.download = namespace.start(["bash", "-c", `set -o pipefail; ${script}`]);
  }

  async isFlowing(): Promise<void> {
    await Promise.all([
      this.bulk.waitFor(/sec.*bits\/sec/),
      this.kept.waitFor(/open/),
      this.kept6.waitFor(/open/),
    ]);
  }

  /** Each of the kept connections had another few answers, and the stream goes on. */
  async goesOn(): Promise<void> {
    for (const program of [this.kept, this.kept6]) {
      const rounds = (program.stdout.match(/^round /gm) ?? []).length;
      await program.waitFor(new RegExp(`round ${rounds + 3}\n`));
    }
    const seconds = (this.bulk.stdout.match(/bits\/sec/g) ?? []).length;
    await this.bulk.waitFor(new RegExp(`(?:[^]*?[1-9]\\S* [MG]bits/sec){${seconds + 2}}`));
  }

  /** @returns the longest that anybody waited for an answer, in milliseconds */
  async end(): Promise<number> {
    const [hash] = (await this.download.result(30_000)).stdout.split(" ");
    expect(hash).toBe(await wantedHash);
    expect(this.bulk.stderr + this.bulk.stdout).not.toMatch(/error/i);
    this.bulk.kill("SIGINT");
    await this.bulk.ended;
    let longestMs = 0;
    for (const program of [this.kept, this.kept6]) {
      const { stdout } = await program.stop();
      const result = JSON.parse(stdout.trim().split("\n").at(-1)!);
      expect(result).toMatchObject({ lost: 0, wrong: 0, errors: [] });
      longestMs = Math.max(longestMs, result.longestMs);
    }
    return longestMs;
  }
}

const streamHash = async (bytes: number): Promise<string> => {
  const script = `${testProgram("test-stream", bytes).join(" ")} | sha256sum`;
  return (await founding.client.namespace.run(["sh", "-c", script])).stdout.split(" ")[0]!;
};
let wantedHash: Promise<string>;
beforeAll(() => {
  wantedHash = streamHash(DOWNLOAD_BYTES);
});

/** Every connection of the table by its ends, and the counters of every server. */
async function census(): Promise<{ count: number; claimed: number }> {
  const status = JSON.parse((await founding.daemon.vsnat("status", "--json")).stdout);
  let claimed = 0;
  for (const { destinations } of status.services)
    for (const one of destinations) claimed += one.activeConnections + one.inactiveConnections;
  return { count: status.connections.count, claimed };
}

describe("under load", () => {
  /** From one process to the next. @returns the next one */
  const WAYS: readonly (readonly [string, () => Promise<Program>])[] = [
    [
      "killed and started again",
      async () => {
        const { program } = founding.daemon;
        program.kill("SIGKILL");
        await program.ended;
        return founding.daemon.start(configuration());
      },
    ],
    [
      "stopped and started again",
      async () => {
        const { stderr } = await founding.daemon.program.stop();
        expect(stderr).toMatch(/\d{3} connections wait for the next start/);
        return founding.daemon.start(configuration());
      },
    ],
    [
      "handed over",
      async () => {
        const before = founding.daemon.program;
        const after = await founding.daemon.start(configuration(), "--handover");
        const { code, stderr } = await before.ended;
        expect(code).toBe(0);
        expect(stderr).toMatch(/handed over to process/);
        return after;
      },
    ],
  ];

  test.each(WAYS)("%s: nothing is reset, nothing is lost", async (name, next) => {
    const load = new Load();
    await load.isFlowing();
    const after = await next();
    expect(after.stderr).toMatch(/took over from a vsnat before: \d{3,} connections/);
    await load.goesOn();
    const { count, claimed } = await census();
    expect(count).toBe(claimed);
    const longestMs = await load.end();
    console.info(
      `${name}: nobody waited longer than ${longestMs} ms; ${/took over.*/.exec(after.stderr)?.[0]}`,
    );
  });
});

/**
 * The director ends and another begins, by SIGKILL and by a hand-over, while real programs use it: no connection is reset, no
 * byte is wrong, and nobody has to begin anew.
 */
import { readdirSync } from "node:fs";
import { chmod, mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { Program } from "../../src/cli/demo/program.ts";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import {
  configurationText,
  type Founding,
  startFounding,
  startServer,
  testProgram,
} from "../support/founding.ts";
import { addIdleConnections } from "../support/idle-connections.ts";

const web = { protocol: "tcp", port: 80, scheduler: "rr", a: [80, 1], b: [80, 1] } as const;
/** Nobody listens there: for made-up clients. */
const idle = { protocol: "tcp", port: 81, a: [81, 1] } as const;
const bulk = { protocol: "tcp", port: 5201, a: [5201, 1] } as const;
const DOWNLOAD_BYTES = 400 * 2 ** 20;

const FTP_SERVICE = `  - { listen: "tcp://${VIP.ipv4}:21", app: ftp, servers: ["172.16.0.2:21"] }\n`;
const FTP_BYTES = 40 * 2 ** 20;
const IDLE_COUNT = 100_000;

/** The slow path does not go on without a process. */
const isSlow = process.env.VSNAT_TEST_FAST_PATH === "off" || whyNoFastPath() !== undefined;
let founding: Founding;
const configuration = (): string => configurationText(founding, [web, bulk, idle], FTP_SERVICE);
const CONFIGURATION = (): string => configurationText(founding, [web, bulk, idle], FTP_SERVICE);

beforeAll(async () => {
  founding = await startFounding();
  const { serverA, serverB, laboratory } = founding;
  // Where the fast path goes on without a process; the laboratory's guardian unmounts it.
  const pins = join(laboratory.runtimeDirectory, "bpf");
  await new Program(["sh", "-c", `mkdir ${pins} && mount -t bpf bpf ${pins}`]).end();
  await startServer(serverA, "http-server", "A", 80);
  await startServer(serverB, "http-server", "B", 80);
  await serverA.namespace.start(["iperf3", "-s", "--forceflush"]).waitFor(/listening/);
  await startVsftpd();
  await founding.daemon.start(CONFIGURATION());
});
afterAll(() => founding?.laboratory.close());

/** vsftpd on server A, with a large file. */
async function startVsftpd(): Promise<void> {
  const { serverA, laboratory } = founding;
  await chmod(laboratory.directory, 0o711);
  const folder = join(laboratory.directory, "ftp");
  await mkdir(folder, { mode: 0o755 });
  await serverA.namespace.run([
    "sh",
    "-c",
    `${testProgram("test-stream", FTP_BYTES).join(" ")} > ${folder}/large.bin`,
  ]);
  const file = join(laboratory.directory, "vsftpd.conf");
  const settings = `listen=NO
listen_ipv6=YES
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=${folder}
seccomp_sandbox=NO
xferlog_enable=NO
secure_chroot_dir=${folder}
`;
  await writeFile(file, settings, { mode: 0o600 });
  serverA.namespace.start(["vsftpd", file]);
}

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
      "stopped and started again",
      async () => {
        const { stderr } = await founding.daemon.program.stop();
        expect(stderr).toMatch(/100\d{3} connections wait for the next start/);
        return founding.daemon.start(configuration());
      },
    ],
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

  beforeAll(async () => {
    const { daemon } = founding;
    daemon.program.kill("SIGKILL");
    await daemon.program.ended;
    await addIdleConnections(tableFile(), IDLE_COUNT);
    await daemon.start(configuration());
    expect((await census()).count).toBe(IDLE_COUNT);
  });

  test.each(WAYS)(
    "%s, with 100,000 idle connections: nothing is reset, nothing is lost",
    async (name, next) => {
      const load = new Load();
      await load.isFlowing();
      const after = await next();
      expect(after.stderr).toMatch(/took over from a vsnat before: 100\d{3} connections/);
      await load.goesOn();
      const { count, claimed } = await census();
      expect(count).toBe(claimed);
      const longestMs = await load.end();
      console.info(
        `${name}: nobody waited longer than ${longestMs} ms; ${/took over.*/.exec(after.stderr)?.[0]}`,
      );
    },
  );

  test.skipIf(isSlow)(
    "connections begin while nobody is there, and the next one takes them over",
    async () => {
      const { daemon, client } = founding;
      // First the kernel is told of all the idle ones, which must not be taken for new.
      await vi.waitUntil(async () => {
        const { fastPath } = JSON.parse((await daemon.vsnat("status", "--json")).stdout);
        return fastPath.delegated > 0;
      }, 20_000);
      daemon.program.kill("SIGKILL");
      await daemon.program.ended;
      const url = `http://${VIP.ipv4}/name?[1-50]`;
      const { stdout } = await client.namespace.run(["curl", "--silent", "--max-time", "20", url]);
      expect(stdout).toMatch(/^(A\nB\n|B\nA\n){25}$/); // one server after the other
      const kept = client.namespace.start(
        testProgram("kept-connections", `http://${VIP.ipv4}/kept`, 20, 100),
      );
      await kept.waitFor(/open/);
      await daemon.start(configuration());
      const rounds = (kept.stdout.match(/^round /gm) ?? []).length;
      await kept.waitFor(new RegExp(`round ${rounds + 3}\n`));
      const { count, claimed } = await census();
      expect(count).toBe(claimed);
      const status = JSON.parse((await daemon.vsnat("status", "--json")).stdout);
      expect(status.fastPath.begun).toBeGreaterThanOrEqual(70);
      const result = JSON.parse((await kept.stop()).stdout.trim().split("\n").at(-1)!);
      expect(result).toMatchObject({ lost: 0, wrong: 0, errors: [] });
    },
  );

  test("an FTP transfer goes on, and so does its control connection, whose lines were changed", async () => {
    const { daemon, client } = founding;
    const large = `ftp://${VIP.ipv4}/large.bin`;
    const again = `${large} --next --silent --show-error --disable-epsv --no-ftp-skip-pasv-ip ${large}`;
    const options = "--silent --show-error --disable-epsv --no-ftp-skip-pasv-ip --limit-rate 20M";
    const script = `curl ${options} ${again} | sha256sum`;
    const transfer = client.namespace.start(["bash", "-c", `set -o pipefail; echo begun; ${script}`]);
    await transfer.waitFor(/begun/);
    await new Promise((resolve) => setTimeout(resolve, 700)); // a third of the first file
    daemon.program.kill("SIGKILL");
    await daemon.program.ended;
    await daemon.start(configuration());
    const [hash] = (await transfer.result(30_000)).stdout.replace("begun\n", "").split(" ");
    const twice = `f() { ${testProgram("test-stream", FTP_BYTES).join(" ")}; }; (f; f) | sha256sum`;
    expect(hash).toBe((await client.namespace.run(["sh", "-c", twice])).stdout.split(" ")[0]);
  });
});

describe("what was left", () => {
  /** A client that is served all the time. */
  let kept: Program;
  beforeEach(async () => {
    kept = founding.client.namespace.start(
      testProgram("kept-connections", `http://${VIP.ipv4}/kept`, 10, 50),
    );
    await kept.waitFor(/open/);
  });
  afterEach(() => kept.stop());

  const host = async (): Promise<string> =>
    (
      await founding.director.run(["sh", "-c", "ip rule; ip -6 rule; ip route; ip -6 route"])
    ).stdout.replaceAll("linkdown ", "");
  const restart = async (text: string): Promise<Program> => {
    const { program } = founding.daemon;
    program.kill("SIGKILL");
    await program.ended;
    return founding.daemon.start(text);
  };
  async function goesOn(): Promise<void> {
    const rounds = (kept.stdout.match(/^round /gm) ?? []).length;
    await kept.waitFor(new RegExp(`round ${rounds + 3}\n`));
  }

  test("meets another configuration: what stays goes on, and what is gone is drained", async () => {
    const { serverA } = founding;
    const other = { ...web, a: undefined } as const;
    await restart(
      `${configurationText(founding, [bulk, other, idle], FTP_SERVICE)}limits: { connections: 300000 }\n`,
    );
    await goesOn();
    const status = JSON.parse((await founding.daemon.vsnat("status", "--json")).stdout);
    expect(status.connections.max).toBe(300_000);
    const { stdout } = await founding.director.run(["ip", "rule"]);
    expect(stdout).toContain(`from ${serverA.ipv4} lookup`);
    await restart(configuration());
    await goesOn();
  });

  test("is refused when it is no table, and the director begins anew", async () => {
    const { daemon } = founding;
    daemon.program.kill("SIGKILL");
    await daemon.program.ended;
    await writeFile(tableFile(), "nonsense\n", { mode: 0o600 });
    const { stderr } = await daemon.start(configuration());
    expect(stderr).toMatch(/Cannot take over the connections in .*: it is no table of connections/);
    expect(await fetchName()).toMatch(/^[AB]\n$/);
  });

  test("is taken over as far as it is sound, whatever was written into it", async () => {
    const { daemon } = founding;
    daemon.program.kill("SIGKILL");
    await daemon.program.ended;
    const handle = await open(tableFile(), "r+");
    const { size } = await handle.stat();
    // A byte in every 100 of what is there: the beginning, the directory, some records.
    const noise = Buffer.alloc(1, 0x5a);
    for (let at = 4096 + 100; at < Math.min(size, 64 * 2 ** 20); at += at < 2 ** 20 ? 100 : 9973)
      await handle.write(noise, 0, 1, at);
    await handle.close();
    await daemon.start(configuration());
    const { count, claimed } = await census();
    expect(count).toBe(claimed);
    expect(await fetchName()).toMatch(/^[AB]\n$/);
  });

  test("is given up by a stop with --flush, by cleanup, and when nothing is open", async () => {
    const { daemon, director, laboratory } = founding;
    const pins = join(laboratory.runtimeDirectory, "bpf");
    const left = () => [
      ...readdirSync(laboratory.runtimeDirectory).filter((name) => name !== "bpf"),
      ...readdirSync(pins).filter((name) => !name.endsWith(".debug")), // the file system's own
    ];
    const vsnat = (...args: readonly string[]) => daemon.vsnat(...args);
    const held = await host();
    expect((await daemon.program.stop()).stderr).toMatch(/wait for the next start/);
    expect(await host()).toBe(held);
    expect((await vsnat("cleanup")).stdout).toMatch(/forgotten: the connections of vs0/);
    const before = await host();
    expect(before).not.toMatch(/vs0/);
    await daemon.start(configuration());
    await kept.stop();
    kept = founding.client.namespace.start(testProgram("kept-connections", `http://${VIP.ipv4}/kept`, 2, 50));
    await kept.waitFor(/open/);
    expect((await vsnat("stop", "--flush")).stdout).toBe("stopped\n");
    expect((await daemon.program.ended).stderr).toMatch(/The host is as it was before/);
    expect(await host()).toBe(before);
    expect(left()).toEqual([]);
    await kept.stop();
    await daemon.start(configuration());
    expect((await daemon.program.stop()).stderr).toMatch(/The host is as it was before/);
    expect((await director.run(["ip", "-brief", "link"])).stdout).not.toMatch(/vs0/);
    expect(left()).toEqual([]);
  });
});

const tableFile = (): string => {
  const { runtimeDirectory } = founding.laboratory;
  return join(runtimeDirectory, readdirSync(runtimeDirectory).find((name) => name.endsWith(".table"))!);
};

async function fetchName(): Promise<string> {
  const { stdout } = await founding.client.namespace.attempt([
    "curl", "--silent", "--max-time", "5", `http://${VIP.ipv4}/`,
  ]); // biome-ignore format: one command
  return stdout;
}

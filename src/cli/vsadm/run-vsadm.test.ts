/** What vsadm does with the daemon's answers. Commands against a real director: test/golden/vsadm.test.ts. */
import { describe, expect, it } from "vitest";
import { Administered } from "../../../test/support/administered.ts";
import { tcp } from "../../../test/support/packet-builder.ts";
import type { Edit } from "../../control/edit.ts";
import { EDITS_MAX } from "../../control/edit-schema.ts";
import { CommandFailure } from "../exit-code.ts";
import { PortNames } from "./names.ts";
import { type Ask, runVsadm } from "./run-vsadm.ts";

const VIP = "202.103.106.5";
const WEB = `-A -t ${VIP}:80 -s rr`;

describe("-R", () => {
  /** @returns what -R did and what is there afterwards. */
  async function restored(...lines: readonly string[]) {
    const director = new Administered();
    const { status, stdout, stderr } = await director.vsadm("-R", lines.join("\n"));
    const { stdout: rules } = await director.vsadm("-Sn");
    return { status, stdout, stderr, rules: rules.split("\n").slice(0, -1) };
  }

  it("reads lines with and without the program's name, blank ones and the last without an end", async () => {
    const lines = [`ipvsadm ${WEB}`, "", "\t ", "vsadm\t-A  -u  202.103.106.5:53\r", "ipvsadm", "-A -f 5"];
    expect(await restored(...lines)).toEqual({
      ...{ status: 0, stdout: "", stderr: "" },
      rules: [`-A -t ${VIP}:80 -s rr`, `-A -u ${VIP}:53 -s wlc`, "-A -f 5 -s wlc"],
    });
  });

  it("goes on behind what the director refuses; the last line says the exit status", async () => {
    const twice = await restored(WEB, WEB, `-A -t ${VIP}:81 -s rr`);
    expect(twice).toMatchObject({ status: 0, stderr: "Service already exists\n" });
    expect(twice.rules).toHaveLength(2);
    expect(await restored(WEB, WEB)).toMatchObject({ status: 255, stderr: "Service already exists\n" });
  });

  it("goes on behind an unknown option, ends at any other mistake, and keeps what was before", async () => {
    const unknown = await restored("-C -q", WEB);
    expect(unknown).toMatchObject({ status: 0, stderr: "-q: unknown option\n", rules: [WEB] });
    const wrong = await restored(WEB, `-A -t ${VIP}:99999`, "-C");
    expect(wrong).toMatchObject({
      ...{ status: 2, stderr: "illegal virtual server address[:port] specified\n", rules: [WEB] },
    });
    for (const line of ["# a comment", "-R", "garbage"]) {
      const ended = await restored(WEB, line, "-C");
      expect(ended).toMatchObject({ status: 255, rules: [WEB] });
      expect(ended.stderr).toMatch(/^Try `vsadm -h'/);
    }
  });

  it("does other commands in their place", async () => {
    const listing = await restored(WEB, "-Sn", "-C", "-Sn", "-D -f 9");
    expect(listing).toEqual({ status: 255, stdout: `${WEB}\n`, stderr: "No such service\n", rules: [] });
    expect(await restored(WEB, "-L -f 9", "-C")).toMatchObject({ status: 1, rules: [WEB] });
    expect(await restored("-v", WEB)).toMatchObject({ status: 0, rules: [] });
  });

  it("sends edits together, as many as the API takes at once", async () => {
    const requests: number[] = [];
    const ask: Ask = async <T>(_method: string, _path: string, body?: unknown) => {
      const { edits } = body as { edits: Edit[] };
      requests.push(edits.length);
      return { outcomes: edits.map(() => null) } as T;
    };
    const io = { ...silent, input: async () => "-C\n".repeat(EDITS_MAX + 1) };
    expect(await runVsadm(["-R"], io, ask)).toBe(0);
    expect(requests).toEqual([EDITS_MAX, 1]);
  });
});

const silent = {
  names: {
    addressOf: async () => undefined,
    hostOf: async () => undefined,
    portOf: () => undefined,
    serviceOf: () => undefined,
  },
  input: async () => "",
  print: () => undefined,
  complain: () => undefined,
};

it("says what the daemon says where ipvsadm's words say little", async () => {
  const director = new Administered();
  await director.vsadm(WEB);
  const { status, stderr } = await director.vsadm(`-a -t ${VIP}:80 -r 224.0.0.1:80 -m`);
  expect(status).toBe(255);
  const [first, second] = stderr.split("\n");
  expect(first).toBe("Invalid operation.  Possibly wrong module version, address not unicast, ...");
  expect(second).toContain("224.0.0.1");
});

it("refuses an unknown persistence engine as an unknown scheduler", async () => {
  const { status, stderr } = await new Administered().vsadm(`-A -t ${VIP}:80 -p --pe nosuch`);
  expect({ status, stderr }).toEqual({
    ...{ status: 255, stderr: "Scheduler or persistence engine not found\n" },
  });
});

it("--json prints what the API says", async () => {
  const director = new Administered();
  await director.vsadm(WEB);
  await director.vsadm(`-A -t ${VIP}:81`);
  const json = async (line: string) => JSON.parse((await director.vsadm(`${line} --json`)).stdout);
  expect((await json("-L")).services).toEqual(director.status.services);
  expect((await json(`-L -t ${VIP}:81`)).services).toMatchObject([{ port: 81, scheduler: "wlc" }]);
  expect(await json("-L --timeout")).toEqual({ timeouts: { tcp: 900, tcpFin: 120, udp: 300 } });
  expect(await json("-Lc")).toEqual({ connections: [], count: 0 });
  expect(await json("-L --daemon")).toEqual({ daemons: [] });
});

it("zeroes one service, and no other", async () => {
  const director = new Administered();
  for (const port of [80, 81]) {
    const service = `-t ${VIP}:${port}`;
    await director.vsadm(`-A ${service} -s rr`);
    await director.vsadm(`-a ${service} -r 172.16.0.2:80 -m`);
    director.stage.send(tcp({ from: "202.100.1.2:3456", to: `${VIP}:${port}`, flags: "S" }));
  }
  const counted = () => director.status.services.map(({ counters }) => counters.connections).sort();
  expect(counted()).toEqual([1, 1]);
  expect(await director.vsadm(`-Z -t ${VIP}:80`)).toEqual({ status: 0, stdout: "", stderr: "" });
  expect(counted()).toEqual([0, 1]);
  expect(await director.vsadm("-Z -f 5")).toEqual({ status: 255, stdout: "", stderr: "No such service\n" });
  await director.vsadm("-Z");
  expect(counted()).toEqual([0, 0]);
});

it("says so when there are more connections than the API gives at once", async () => {
  const ask: Ask = async <T>() => ({ connections: [], count: 7 }) as T;
  let complaint = "";
  const io = { ...silent, complain: (text: string) => void (complaint += text) };
  expect(await runVsadm(["-Lcn"], io, ask)).toBe(0);
  expect(complaint).toBe("7 more connections are not listed\n");
});

it("does not hide that the daemon cannot be asked", async () => {
  const failure = new CommandFailure("No daemon answers");
  const ask: Ask = () => Promise.reject(failure);
  await expect(runVsadm([], silent, ask)).rejects.toBe(failure);
  await expect(runVsadm(["-Z"], silent, ask)).rejects.toBe(failure);
});

it("PortNames reads /etc/services: the first line that fits counts", () => {
  const names = new PortNames(
    "# 1/tcp\nftp 21/tcp\ntelnet\t23/tcp\nwww 80/tcp http # x\nhttp2 80/tcp\nbad\n",
  );
  expect(["ftp", "http", "www", "telnet", "x", "bad"].map((name) => names.portOf(name, "tcp"))).toEqual([
    ...[21, 80, 80, 23, undefined, undefined],
  ]);
  expect(names.serviceOf(80, "tcp")).toBe("www");
  expect(names.serviceOf(80, "udp")).toBeUndefined();
});

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test, vi } from "vitest";
import { parseConfig } from "../../control/config/config.ts";
import type { ServiceStatus } from "../../control/director-status.ts";
import { command } from "../import.ts";
import type { Names } from "../vsadm/names.ts";
import { savedRules } from "../vsadm/saved-rules.ts";
import { assemble } from "./assemble.ts";
import { readIpvsadmRules } from "./ipvsadm-rules.ts";
import { readKeepalived } from "./keepalived-rules.ts";

const GOLDEN = fileURLToPath(new URL("../../../test/golden/import/", import.meta.url));
const NAMES: Names = {
  addressOf: async (host) => (host === "web.example" ? "203.0.113.9" : undefined),
  hostOf: async () => undefined,
  portOf: (name) => (name === "http" ? 80 : undefined),
  serviceOf: () => undefined,
};
const folder = mkdtempSync(join(tmpdir(), "vsnat-import-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ipvsadm = async (...lines: string[]) =>
  assemble(await readIpvsadmRules(lines.join("\n"), "rules", NAMES), "rules");
const keepalived = (text: string, file = "k.conf") => assemble(readKeepalived(text, file), file);

type Imported = ReturnType<typeof assemble>;

/** What the file says, checked. */
function servicesOf({ yaml }: Imported) {
  const result = parseConfig(yaml);
  if (!result.ok) expect.fail(`${yaml}\n${JSON.stringify(result.issues)}`);
  return result.config.director.services;
}
const report = ({ findings }: Imported) =>
  findings.map(({ line, outcome, text, reasons }) => [`${line} ${outcome}: ${text}`, ...reasons].join(" | "));
/** Lines that do not map. */
const refusals = (imported: Imported) => report(imported).filter((line) => !/^\d+ maps/.test(line));

describe("rules of ipvsadm -Sn", () => {
  const RULES = [
    "-A -t 192.0.2.10:80 -s wrr -p 360",
    "-a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 1",
    "-a -t 192.0.2.10:80 -r 10.0.0.12:8080 -m -w 2",
    "-A -t 192.0.2.11:0 -s rr -p 60",
    "-a -t 192.0.2.11:0 -r 10.0.0.11:0 -m -w 1",
    "-A -t [2001:db8::a]:443 -s mh -p 300 -M 64 -b mh-fallback",
    "-a -t [2001:db8::a]:443 -r [fd00::11]:443 -m -w 1",
    "-A -u 192.0.2.10:53 -s rr -o",
    "-a -u 192.0.2.10:53 -r 10.0.0.21:53 -m -w 0",
    "-A -u 192.0.2.10:5060 -s rr -p 60 --pe sip",
    "-A --sctp-service 192.0.2.10:36412 -s sh -b sh-fallback,sh-port",
    "-a --sctp-service 192.0.2.10:36412 -r 10.0.0.41:36412 -m -w 1",
    "-A -f 7 -s wlc -p 300 -M 255.255.255.0",
    "-a -f 7 -r 10.0.0.31:0 -m -w 1",
    "-A -f 8 -6 -s none",
  ];

  test("come out of the file as they went in", async () => {
    const imported = await ipvsadm(...RULES);
    expect(refusals(imported)).toEqual([]);
    const label = ({ address, port }: { readonly address: string; readonly port: number }) =>
      address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
    expect(savedRules(servicesOf(imported) as readonly ServiceStatus[], label).toSorted()).toEqual(
      RULES.toSorted(),
    );
  });

  test("of FTP's port get its module", async () => {
    const imported = await ipvsadm("-A -t 203.0.113.9:21 -s rr", "-a -t 203.0.113.9:21 -r 10.0.0.1:21 -m");
    expect(servicesOf(imported)).toMatchObject([{ port: 21, app: "ftp" }]);
  });

  test("may be commands with names, edits and time-outs", async () => {
    const imported = await ipvsadm(
      "# by hand",
      "ipvsadm -A -t web.example:http",
      "/sbin/ipvsadm -a -t web.example:http -r 10.0.0.1 -w 5 -x 100 -y 50   # the old one",
      "",
      "-e -t web.example:http -r 10.0.0.1 -w 7 -x 100 -y 50",
      "-A -t 192.0.2.2:80",
      "-D -t 192.0.2.2:80",
      "--set 1000 0 40",
    );
    expect(refusals(imported)).toEqual([]);
    expect(imported.findings.map(({ line }) => line)).toEqual([2, 3, 5, 6, 7, 8]);
    expect(imported.yaml).toBe(`# Made by vsnat import from rules. Time-outs are those of Linux IPVS.

services:
  - listen: tcp://203.0.113.9:80
    scheduler: wlc
    servers:
      - { address: 10.0.0.1:80, weight: 7, upperThreshold: 100, lowerThreshold: 50 }
timeouts:
  profile: ipvs
  tcp:
    established: 1000
  udp: 40
`);
    expect(servicesOf(imported)).toHaveLength(1);
  });

  test("are approximated where they forward otherwise", async () => {
    const imported = await ipvsadm(
      "-A -t 192.0.2.1:80 -s rr",
      "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1",
      "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i --tun-type gue --tun-port 6080 --tun-nocsum -w 1",
    );
    expect(report(imported)).toEqual([
      "1 maps: -A -t 192.0.2.1:80 -s rr",
      expect.stringMatching(/^2 approximated: .*-g -w 1 \| becomes masquerading/),
      expect.stringMatching(/^3 approximated: .*6080.* \| becomes masquerading/),
    ]);
    expect(servicesOf(imported)[0]!.destinations).toHaveLength(2);
  });

  test("are refused, with the line, where ipvsadm, the kernel or a check would", async () => {
    const imported = await ipvsadm(
      "-A -t 192.0.2.1:80 -s rr",
      "-A -t 192.0.2.1:80 -s rr",
      "-A -t 192.0.2.1:99999",
      "-a -t 192.0.2.5:80 -r 10.0.0.1",
      "-A -t 127.0.0.1:80",
      "-A -t 192.0.2.1:443 -s nonsense",
      "-a -t 192.0.2.1:80 -r 192.0.2.1:81",
      "-A -t unknown.example:80",
      "--start-daemon master --mcast-interface eth0",
      "-L -n",
    );
    expect(refusals(imported).map((line) => line.split(":", 1)[0])).toEqual(
      [2, 3, 4, 5, 6, 7, 8, 9, 10].map((line) => `${line} refused`),
    );
    for (const { outcome, reasons } of imported.findings)
      if (outcome === "refused") expect(reasons.join()).not.toBe("");
    expect(servicesOf(imported).map(({ address, port }) => `${address}:${port}`)).toEqual(["192.0.2.1:80"]);
    expect(imported).toMatchObject({ serviceCount: 1, serverCount: 0 });
  });

  test("lose a flag that says nothing, not the service", async () => {
    const imported = await ipvsadm("-A -t 192.0.2.1:80 -s rr -b flag-1", "-a -t 192.0.2.1:80 -r 10.0.0.1");
    expect(servicesOf(imported)[0]!.destinations).toHaveLength(1);
  });
});

describe("keepalived.conf", () => {
  const text = readFileSync(join(GOLDEN, "keepalived.conf"), "utf8");

  test("the sample, which keepalived -t accepts, becomes a file and a report", async () => {
    const imported = keepalived(text, "keepalived.conf");
    servicesOf(imported);
    await expect(imported.yaml).toMatchFileSnapshot(join(GOLDEN, "keepalived.yaml"));
    await expect(`${report(imported).join("\n")}\n`).toMatchFileSnapshot(join(GOLDEN, "keepalived.report"));
  });

  const server = (virtual: string, inside = "") =>
    `virtual_server ${virtual} {\nprotocol TCP\n${inside}\nreal_server 10.0.0.1 80 {\n}\n}\n`;

  test.each([
    ["192.0.2.1-3 80", ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"]],
    ["192.0.2.254-192.0.3.1 80", ["192.0.2.254:80", "192.0.2.255:80", "192.0.3.0:80", "192.0.3.1:80"]],
    ["192.0.2.5/30 80", ["192.0.2.4:80", "192.0.2.5:80", "192.0.2.6:80", "192.0.2.7:80"]],
    ["192.0.2.9 0", ["192.0.2.9:0"]],
  ])("a group's %s", (range, wanted) => {
    const imported = keepalived(`virtual_server_group G {\n${range}\n}\n${server("group G")}`);
    expect(servicesOf(imported).map(({ address, port }) => `${address}:${port}`)).toEqual(wanted);
  });

  test("a range of IPv6 addresses is hexadecimal", () => {
    const imported = keepalived(
      "virtual_server_group G {\n2001:db8::9-b 80\n}\nvirtual_server group G {\nprotocol TCP\nreal_server fd00::1 80 {\n}\n}",
    );
    const addresses = ["2001:db8::9", "2001:db8::a", "2001:db8::b"];
    expect(servicesOf(imported).map(({ address }) => address)).toEqual(addresses);
  });

  test.each([
    "192.0.2.9-3 80",
    "192.0.2.1-999 80",
    "192.0.2.0/8 80",
    "192.0.2.0/x 80",
    "nobody 80",
    "192.0.2.1 99999",
  ])("a group's %s is refused", (range) => {
    const imported = keepalived(`virtual_server_group G {\n${range}\n}\n${server("group G")}`);
    expect(refusals(imported)).toContainEqual(
      expect.stringContaining(`2 refused: ${range} | expected ADDRESS`),
    );
    expect(imported.serviceCount).toBe(0);
  });

  test.each<[string, string]>([
    ["lvs_sched fancy", 'there is no scheduler "fancy": becomes wlc'],
    ["sh-port", "incompatible scheduler flag `sh-port': left out"],
    ["persistence_granularity 255.255.255.0", "persistence without persistence_timeout: 360 seconds"],
    ["persistence_timeout 60\npersistence_granularity 1.2.3.999", "a mask such as 255.255.255.0"],
    ["persistence_engine magic", "expected sip"],
    ["quorum_up /bin/true", "does not watch servers"],
    ["$PORT", "not worked out"],
    ["include nothing-*.conf", "no such file can be read"],
  ])("%s keeps the service and is told", (inside, wanted) => {
    const imported = keepalived(server("192.0.2.1 80", inside));
    expect(refusals(imported)).toEqual([expect.stringContaining(wanted)]);
    expect(servicesOf(imported)[0]!.destinations).toHaveLength(1);
  });

  test.each<[string, string]>([
    ["virtual_server group NONE {\n}", "there is no virtual_server_group NONE"],
    [server("192.0.2.1 80").replace("protocol TCP", ""), "it names no protocol: becomes tcp"],
    [server("192.0.2.1"), "a service of every port is persistent: 360 seconds"],
    [server("192.0.2.1 80") + server("192.0.2.1 80"), "it exists"],
    [server("127.0.0.1 80"), "unicast"],
  ])("%j is told", (conf, wanted) => {
    expect(refusals(keepalived(conf)).join("\n")).toContain(wanted);
  });

  test("includes files beside it, once, and in the places where they are", () => {
    writeFileSync(join(folder, "main.conf"), 'include web-*.conf\ninclude "other.conf"\n');
    writeFileSync(join(folder, "web-1.conf"), server("192.0.2.1 80", "include sched.conf"));
    writeFileSync(join(folder, "web-2.conf"), server("192.0.2.2 80"));
    writeFileSync(join(folder, "sched.conf"), "lvs_sched rr ! the same for all\n");
    const file = join(folder, "main.conf");
    const imported = keepalived(readFileSync(file, "utf8"), file);
    expect(servicesOf(imported).map(({ address, scheduler }) => `${address} ${scheduler}`)).toEqual([
      "192.0.2.1 rr",
      "192.0.2.2 wlc",
    ]);
    expect(imported.findings.find(({ text: head }) => head === "lvs_sched rr")).toMatchObject({
      file: join(folder, "sched.conf"),
      line: 1,
    });
    expect(refusals(imported)).toEqual(["2 refused: include other.conf | no such file can be read"]);
  });

  test.each([
    ["virtual_server 192.0.2.1 80 {\n", "line 1: a block without an end, expected }"],
    ["a\n}\n", "line 2: }, expected a block that it ends"],
    ["{\n}\n", "line 1: {, expected a keyword in front of it"],
    ["a {".repeat(40), "more than 32 blocks in each other"],
  ])("%j is no such file", (conf, wanted) => {
    expect(() => keepalived(conf)).toThrow(wanted);
  });

  test("a file that includes itself ends", () => {
    const file = join(folder, "loop.conf");
    writeFileSync(file, "include loop.conf\n");
    expect(() => keepalived("include loop.conf\n", file)).toThrow("more than 256 files");
  });
});

describe("vsnat import", () => {
  async function run(...args: string[]): Promise<{ stdout: string; stderr: string }> {
    const outputs = { stdout: "", stderr: "" };
    const spies = (["stdout", "stderr"] as const).map((name) =>
      vi.spyOn(process[name], "write").mockImplementation((text) => {
        outputs[name] += text;
        return true;
      }),
    );
    try {
      await command().exitOverride().parseAsync(args, { from: "user" });
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    return outputs;
  }

  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };

  test("finds out what it reads, prints the file and reports", async () => {
    const rules = file("rules", "# saved\n-A -t 192.0.2.1:80 -s rr\n");
    const { stdout, stderr } = await run(rules);
    expect(stdout).toContain("listen: tcp://192.0.2.1:80");
    expect(stderr).toBe(
      `${rules}:2: maps: -A -t 192.0.2.1:80 -s rr\n1 service, 0 servers; lines: 1 map, 0 approximated, 0 refused\n`,
    );
    const conf = file("conf", "! keepalived\nglobal_defs {\n}\n");
    expect((await run(conf)).stderr).toContain("conf:2: maps: global_defs { ... }");
  });

  test("writes to a file and reports as JSON", async () => {
    const output = join(folder, "made.yaml");
    const { stdout, stderr } = await run(file("rules", "-A -f 7\n"), "-o", output, "--json");
    expect(stdout).toBe("");
    expect(parseConfig(readFileSync(output, "utf8")).ok).toBe(true);
    expect(JSON.parse(stderr)).toMatchObject({
      services: 1,
      servers: 0,
      findings: [{ outcome: "maps", line: 1 }],
    });
  });

  test.each([
    [["prose"], "expected rules of `ipvsadm -S` or blocks of keepalived.conf"],
    [["braces", "--from", "keepalived"], "line 1: }, expected a block that it ends"],
    [["nothing"], "ENOENT"],
  ])("%j is no input", async ([name, ...options], wanted) => {
    file("prose", "Hello!\n");
    file("braces", "}\n");
    await expect(run(join(folder, name!), ...options)).rejects.toThrow(wanted);
  });
});

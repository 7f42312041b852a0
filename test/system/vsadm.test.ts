/** vsadm as a program beside a running daemon: a balancer built, saved, cleared and restored by hand, under traffic. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding, startServer } from "../support/founding.ts";

let founding: Founding;
const WEB = `${VIP.ipv4}:80`;

beforeAll(async () => {
  founding = await startFounding();
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 8000);
  await founding.daemon.start("services: []\n");
});
afterAll(() => founding?.laboratory.close());

const vsadm = (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsadm.js", ...args), { env: founding.daemon.environment });
const vsnat = (...args: readonly string[]) =>
  founding.director.attempt(builtProgram("cli/vsnat.js", ...args), { env: founding.daemon.environment });
/** `vsadm ARGS < text` */
const vsadmReading = (text: string, ...args: readonly string[]) => {
  const command = builtProgram("cli/vsadm.js", ...args).join(" ");
  return founding.director.attempt(["sh", "-c", `printf %s "$1" | ${command}`, "sh", text], {
    env: founding.daemon.environment,
  });
};
const done = { code: 0, stdout: "", stderr: "" };

const fetchNames = async (count: number): Promise<string> => {
  const url = `http://${WEB}/?[1-${count}]`;
  const command = ["curl", "--silent", "--max-time", "5", "--no-keepalive", url];
  return (await founding.client.namespace.attempt(command)).stdout.replaceAll("\n", "");
};

test("the founding example, as an ipvsadm user types it", async () => {
  expect(await fetchNames(1)).toBe("");
  expect(await vsadm("-A", "-t", WEB, "-s", "wrr")).toMatchObject(done);
  expect(await vsadm("-a", "-t", WEB, "-r", "172.16.0.2:80", "-m")).toMatchObject(done);
  expect(await vsadm("-a", "-t", WEB, "-r", "172.16.0.3:8000", "-m", "-w", "2")).toMatchObject(done);
  expect(await vsadm("-a", "-t", WEB, "-r", "172.16.0.3:8000", "-m")).toMatchObject({
    ...{ code: 255, stdout: "", stderr: "Destination already exists\n" },
  });
  expect(await fetchNames(6)).toBe("BABBAB");
  expect((await vsadm("-Ln")).stdout).toMatch(
    new RegExp(
      `^IP Virtual Server version 1\\.2\\.1 \\(size=1048576\\)\n[^\n]*\n[^\n]*\nTCP {2}${WEB} wrr\n` +
        " {2}-> 172\\.16\\.0\\.2:80 {16}Masq {4}1 {6}0 {10}2 {9}\n" +
        " {2}-> 172\\.16\\.0\\.3:8000 {14}Masq {4}2 {6}0 {10}4 {9}\n$",
    ),
  );
});

test("saved, cleared and restored in one step", async () => {
  const rules = (await vsadm("-Sn")).stdout;
  expect(rules).toBe(
    `-A -t ${WEB} -s wrr\n-a -t ${WEB} -r 172.16.0.2:80 -m -w 1\n-a -t ${WEB} -r 172.16.0.3:8000 -m -w 2\n`,
  );
  expect(await vsadm("-C")).toMatchObject(done);
  expect(await fetchNames(1)).toBe("");
  expect(await vsadmReading(rules, "-R")).toMatchObject(done);
  expect((await vsadm("-Sn")).stdout).toBe(rules);
  expect([...(await fetchNames(3))].sort().join("")).toBe("ABB");
});

test("a server is drained, a timeout set, one service zeroed", async () => {
  expect(await vsadm("-e", "-t", WEB, "-r", "172.16.0.3:8000", "-m", "-w", "0")).toMatchObject(done);
  expect(await fetchNames(3)).toBe("AAA");
  expect(await vsadm("--set", "0", "90", "0")).toMatchObject(done);
  expect((await vsadm("-L", "--timeout")).stdout).toBe("Timeout (tcp tcpfin udp): 900 90 300\n");
  expect(await vsadm("-Z", "-t", WEB)).toMatchObject(done);
  expect((await vsadm("-L", "-n", "-t", WEB, "--stats")).stdout).toMatch(
    new RegExp(`^Prot [^\n]*\n[^\n]*\nTCP {2}${WEB} +0 +0 +0 +0 +0\n`),
  );
  expect(await vsadm("-Z", "-f", "5")).toMatchObject({ code: 255, stderr: "No such service\n" });
});

test("names of ports, and vsnat export", async () => {
  const rules = (await vsadm("-S")).stdout;
  expect(rules).toMatch(/^-A -t [^ ]+:http -s wrr\n/);
  expect((await vsnat("export", "ip_vs")).stdout).toMatch(/^TCP {2}CA676A05:0050 wrr {2}$/m);
  expect((await vsnat("export", "ip_vs_conn")).stdout).toMatch(
    /^TCP CA640102 [\dA-F]{4} CA676A05 0050 AC10000/m,
  );
  expect((await vsnat("export", "nothing")).code).toBe(2);
});

test("synchronisation daemons start, are listed and stop", async () => {
  const outside = ["--mcast-interface", "outside"];
  expect(await vsadm("--start-daemon", "backup", "--mcast-interface", "nosuch")).toMatchObject({
    ...{ code: 255, stderr: "No such device\n" },
  });
  expect(await vsadm("--stop-daemon", "master")).toMatchObject({
    code: 255,
    stderr: "No daemon is running\n",
  });
  expect(await vsadm("--start-daemon", "master", ...outside, "--syncid", "7")).toMatchObject(done);
  expect(await vsadm("--start-daemon", "master", ...outside)).toMatchObject({
    ...{ code: 255, stderr: "Daemon has already run\n" },
  });
  expect((await vsadm("-L", "--daemon")).stdout).toBe(
    "master sync daemon (mcast=outside, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n",
  );
  expect(await vsadm("--stop-daemon", "master")).toMatchObject(done);
  expect(await vsadm("-L", "--daemon")).toMatchObject(done);
});

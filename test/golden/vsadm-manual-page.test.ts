/** The examples of Debian's manual page ipvsadm(8), version 1.31: as they are, for a director that rewrites addresses. */
import { expect, test } from "vitest";
import { Administered } from "../support/administered.ts";

const DONE = { status: 0, stdout: "", stderr: "" };

/** Run each line. @returns what `-Sn` says then */
async function configured(lines: readonly string[]): Promise<string[]> {
  const director = new Administered();
  for (const line of lines) expect(await director.vsadm(line), line).toEqual(DONE);
  return (await director.vsadm("-Sn")).stdout.trimEnd().split("\n");
}

const servers = (service: string, port: string) =>
  [1, 2, 3, 4, 5].map((host) => `-a ${service} -r 192.168.10.${host}:${port} -m`);
const SIMPLE = ["-A -t 207.175.44.110:80 -s rr", ...servers("-t 207.175.44.110:80", "80")];

const saved = (lines: readonly string[]) =>
  lines.map((line) => (line.startsWith("-a") ? `${line} -w 1` : line));

test("example 1: simple virtual service, as commands and as one", async () => {
  expect(await configured(SIMPLE)).toEqual(saved(SIMPLE));

  const director = new Administered();
  expect(await director.vsadm("-R", `\n${SIMPLE.join("\n")}\n`)).toEqual(DONE);
  expect((await director.vsadm("-Sn")).stdout.trimEnd().split("\n")).toEqual(saved(SIMPLE));
});

test("example 2: firewall-mark virtual service", async () => {
  const lines = ["-A -f 1  -s rr", ...servers("-f 1", "0")];
  expect(await configured(lines)).toEqual(saved(["-A -f 1 -s rr", ...servers("-f 1", "0")]));
});

test("IPv6", async () => {
  const lines = [
    "-A -t [2001:db8::80]:80 -s rr",
    "-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -m",
    "-A -f 2 -6 -s wlc",
  ];
  expect(await configured(lines)).toEqual(saved(lines));
});

/** Tunnels: refused one by one, with the reason; the service is made, and so would be everything else in the file. */
test.each([
  ["example 3: GUE", "207.175.44.110:80", [
    "-i --tun-type gue --tun-port 6080 --tun-nocsum",
    "-i --tun-type gue --tun-port 6080 --tun-csum",
    "-i --tun-type gue --tun-port 6080 --tun-remcsum",
    "-i --tun-type gue --tun-port 6078",
    "-i --tun-type gue --tun-port 6079",
  ]],
  ["example 4: GRE", "10.0.0.1:80", ["-i --tun-type gre --tun-csum"]],
] as const)("%s", async (_, address, tunnels) => {
  const director = new Administered();
  const lines = tunnels.map((tunnel, index) => `-a -t ${address} -r 192.168.10.${index + 1}:80 ${tunnel}`);
  const refusal = "-i (tunneling) is not supported: vsnat forwards by rewriting addresses, use -m\n";
  const file = [`-A -t ${address} -s rr`, ...lines].join("\n");
  expect(await director.vsadm("-R", file)).toEqual({
    status: 255,
    stdout: "",
    stderr: refusal.repeat(lines.length),
  });
  expect((await director.vsadm("-Sn")).stdout).toBe(`-A -t ${address} -s rr\n`);
}); // biome-ignore format: rows

/** The commands beside a running daemon, and the API under them. */
import { request } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtProgram } from "../../src/cli/demo/director-daemon.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { configurationText, type Founding, startFounding, startServer } from "../support/founding.ts";

let founding: Founding;

beforeAll(async () => {
  founding = await startFounding();
  const web = { protocol: "tcp", port: 80, scheduler: "wrr", a: [80, 1], b: [8000, 2] } as const;
  const dns = { protocol: "udp", port: 53, scheduler: "rr", a: [53, 1] } as const;
  await startServer(founding.serverA, "http-server", "A", 80);
  await startServer(founding.serverB, "http-server", "B", 8000);
  await founding.daemon.start(configurationText(founding, [web, dns]));
});
afterAll(() => founding?.laboratory.close());

const attempt = (file: "vsnat" | "vsadm", ...args: readonly string[]) =>
  founding.director.attempt(builtProgram(`cli/${file}.js`, ...args), { env: founding.daemon.environment });

const json = async (...args: readonly string[]): Promise<unknown> =>
  JSON.parse((await attempt("vsnat", ...args, "--json")).stdout);

const fetchOnce = (port = 80) =>
  founding.client.namespace.attempt(["curl", "--silent", "--max-time", "5", `http://${VIP.ipv4}:${port}/`]);

/** One request over the control socket, from this process. */
function ask(
  method: string,
  path: string,
): Promise<{ status: number; body: string; type: string | undefined }> {
  const socketPath = founding.daemon.environment.VSNAT_SOCKET;
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      const type = response.headers["content-type"];
      response.once("end", () => resolve({ status: response.statusCode!, body, type }));
    });
    outgoing.once("error", reject).end();
  });
}

test("status shows services, servers and what came of packets", async () => {
  await fetchOnce();
  await fetchOnce(81);
  const { code, stdout } = await attempt("vsnat", "status");
  expect(code).toBe(0);
  expect(stdout).toMatch(/tcp:\/\/202\.103\.106\.5:80 wrr/);
  expect(stdout).toMatch(/ {2}172\.16\.0\.3:8000 +2 /);
  expect(stdout).not.toContain("\x1b");
  expect(await json("status")).toMatchObject({
    connections: { max: 1_048_576 },
    device: { name: "vs0", state: "up" },
    daemon: { configFile: founding.daemon.file },
    internalErrorCount: 0,
  });
});

test("connections lists the table", async () => {
  await fetchOnce();
  const answer = (await json("connections")) as { connections: object[]; count: number };
  expect(answer.count).toBe(answer.connections.length);
  expect(answer.connections[0]).toMatchObject({
    protocol: "tcp",
    client: { address: founding.client.ipv4 },
    virtual: { address: VIP.ipv4, port: 80 },
  });
  const wrong = await attempt("vsnat", "connections", "--limit", "many");
  expect(wrong).toMatchObject({ code: 2, stdout: "" });
});

test("trace prints a packet before and after", async () => {
  const [node, ...rest] = builtProgram(
    "cli/vsnat.js",
    "trace",
    "--json",
    "--count",
    "1",
    "host",
    founding.client.ipv4,
  );
  const trace = founding.director.start([node!, ...rest], { env: founding.daemon.environment });
  await trace.waitFor(/tracing/);
  await fetchOnce();
  const { code, stdout } = await trace.ended;
  expect(code).toBe(0);
  const line = JSON.parse(stdout) as { verdict: string; before: string; after: string };
  expect(line.verdict).toBe("to-server");
  expect(line.before).toMatch(/^202\.100\.1\.2:\d+ > 202\.103\.106\.5:80 tcp S /);
  expect(line.after).toMatch(/^202\.100\.1\.2:\d+ > 172\.16\.0\.[23]:(80|8000) tcp S /);
});

test("a wrong filter is refused before anybody is asked", async () => {
  const { code, stderr } = await attempt("vsnat", "trace", "prot", "80");
  expect(code).toBe(2);
  expect(stderr).toMatch(/port NUMBER/);
});

test("vsadm lists as ipvsadm does, and zeroes", async () => {
  await fetchOnce();
  const { stdout } = await attempt("vsadm", "-Ln");
  expect(stdout).toMatch(
    /^IP Virtual Server version 1\.2\.1 \(size=1048576\)\nProt LocalAddress:Port Scheduler Flags\n/,
  );
  expect(stdout).toMatch(/^TCP {2}202\.103\.106\.5:80 wrr\n {2}-> 172\.16\.0\.2:80 {16}Masq {4}1 {6}\d/m);
  expect((await attempt("vsadm", "-Lcn")).stdout).toMatch(/^TCP \d\d:\d\d {2}[A-Z_]+ +202\.100\.1\.2:\d+ /m);
  expect((await attempt("vsadm", "-L", "--timeout")).stdout).toBe("Timeout (tcp tcpfin udp): 900 60 300\n");
  expect((await attempt("vsadm", "-Ln", "-t", `${VIP.ipv4}:80`)).stdout).not.toContain("UDP");
  expect(await attempt("vsadm", "-Ln", "-t", `${VIP.ipv4}:81`)).toMatchObject({
    code: 1,
    stderr: "No such service\n",
  });
  expect(await attempt("vsadm", "-Z")).toMatchObject({ code: 0, stdout: "" });
  expect((await attempt("vsadm", "-Ln", "--stats")).stdout).toMatch(
    /^TCP {2}202\.103\.106\.5:80 +0 +0 +0 +0 +0$/m,
  );
});

test("the API answers in JSON, errors too", async () => {
  expect(JSON.parse((await ask("GET", "/v1/services")).body).services).toHaveLength(4);
  expect(JSON.parse((await ask("GET", "/v1/settings")).body)).toMatchObject({ host: { device: "vs0" } });
  expect(JSON.parse((await ask("POST", "/v1/reload")).body)).toEqual({
    changes: [],
    settings: [],
    needsRestart: [],
    manual: [],
    overriding: [],
    discarded: [],
  });
  for (const [method, path, status, code] of [
    ["GET", "/v1/nothing", 404, "not-found"],
    ["DELETE", "/v1/status", 404, "not-found"],
    ["GET", "/v1/connections?limit=0", 400, "bad-request"],
    ["GET", "/v1/connections?limt=1", 200, undefined],
    ["GET", "/v1/trace?filter=nonsense", 400, "bad-filter"],
  ] as const) {
    const answer = await ask(method, path);
    expect([path, answer.status]).toEqual([path, status]);
    expect(answer.type).toMatch(/^application\/json/);
    expect((JSON.parse(answer.body) as { error?: { code: string } }).error?.code).toBe(code);
  }
});

test("doctor says that the director can run here", async () => {
  const { code, stdout } = await attempt("vsnat", "doctor");
  expect(stdout).toMatch(/The director can run here/);
  expect(code).toBe(0);
});

/** FullNAT, hairpin, PROXY protocol and masquerading, with nginx, curl, dig, ping and traceroute in namespaces. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Host, VIP } from "../../src/cli/demo/founding-network.ts";
import { type Balancing, buildBalancing, curl, startNginx } from "../support/balancing.ts";
import { FAMILIES, hostText, startServer, testProgram } from "../support/founding.ts";

let balancing: Balancing;

/** Each server says its name and which client it sees, plainly on 80 and 8000, behind a PROXY header on 8080. */
const serversOf = (name: string): string => `
  server { listen 80; listen 8000; listen [::]:80; listen [::]:8000; return 200 "${name} $remote_addr $remote_port\\n"; }
  server { listen 8080 proxy_protocol; listen [::]:8080 proxy_protocol; client_max_body_size 0;
    location / { return 200 "${name} $proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port $remote_addr\\n"; }
    location /files { alias /; } }`;

const CONFIGURATION = `services:
${FAMILIES.map((family) => {
  const [a, b, pool] =
    family === "ipv4"
      ? ["172.16.0.2", "172.16.0.3", "172.16.0.250"]
      : ["[fd00:16::2]", "[fd00:16::3]", "fd00:16::fa"];
  const vip = hostText(VIP[family]);
  return `
  - { listen: "tcp://${vip}:80", scheduler: rr, fullNat: { sources: ["${pool}"] }, servers: ["${a}:80", "${b}:8000"] }
  - { listen: "tcp://${vip}:81", scheduler: rr, fullNat: { sources: ["${pool}"], clients: servers }, servers: ["${a}:80", "${b}:8000"] }
  - { listen: "tcp://${vip}:82", scheduler: rr, proxyProtocol: v2, servers: ["${a}:8080"] }
  - { listen: "tcp://${vip}:83", scheduler: rr, proxyProtocol: v2, fullNat: { sources: ["${pool}"] }, servers: ["${a}:8080"] }`;
}).join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"] }
`;

beforeAll(async () => {
  balancing = await buildBalancing();
  const { serverA, serverB, client } = balancing;
  await startNginx(balancing, serverA, serversOf("A"));
  await startNginx(balancing, serverB, serversOf("B"));
  await startNginx(
    balancing,
    client,
    'server { listen 80; listen [::]:80; return 200 "outside $remote_addr $remote_port\\n"; }',
  );
  await startServer(client, "udp-echo", 7);
  await balancing.daemon.start(CONFIGURATION);
});
afterAll(() => balancing?.laboratory.close());

describe.each(FAMILIES)("%s", (family) => {
  const vip = VIP[family];
  const url = (port: number, path = "/") => `http://${hostText(vip)}:${port}${path}`;
  const pool = family === "ipv4" ? "172.16.0.250" : "fd00:16::fa";
  const clientOf = ({ client }: Balancing) => client[family];

  test("FullNAT: servers see the pool's address, and clients are served", async () => {
    const answers = [await curl(balancing.client, url(80)), await curl(balancing.client, url(80))];
    expect(answers.map((answer) => answer.split(" ").slice(0, 2).join(" ")).sort()).toEqual([
      `A ${pool}`,
      `B ${pool}`,
    ]);
  });

  test("FullNAT: a server whose way to the clients does not lead through the director serves them", async () => {
    const { serverB } = balancing;
    const gateway = family === "ipv4" ? "0.0.0.0/0 via 172.16.0.1" : "::/0 via fd00:16::1";
    await serverB.namespace.ip(`route del ${gateway}`);
    try {
      const answers = [await curl(balancing.client, url(80)), await curl(balancing.client, url(80))];
      expect(answers.map((answer) => answer[0]).sort()).toEqual(["A", "B"]);
    } finally {
      await serverB.namespace.ip(`route add ${gateway}`);
    }
  });

  test("hairpin: a real server is a client of its own service", async () => {
    const { serverA } = balancing;
    const answers = [await curl(serverA, url(81)), await curl(serverA, url(81))];
    expect(answers.map((answer) => answer.split(" ").slice(0, 2).join(" ")).sort()).toEqual([
      `A ${pool}`,
      `B ${pool}`,
    ]);
    // Everybody else is seen as who they are.
    expect(await curl(balancing.client, url(81))).toMatch(new RegExp(`^[AB] ${clientOf(balancing)} `));
  });

  test("hairpin: 200 connections of both servers at the same time", async () => {
    const { serverA, serverB } = balancing;
    const counts = await Promise.all(
      [serverA, serverB].map(async ({ namespace }) => {
        const { stdout } = await namespace.run(testProgram("parallel-client", vip, 81, 100));
        return Object.values(JSON.parse(stdout) as Record<string, number>).reduce((sum, one) => sum + one, 0);
      }),
    );
    expect(counts).toEqual([100, 100]);
  });

  test("PROXY protocol v2: the server learns the client's address and port, with and without FullNAT", async () => {
    const seen = await curl(balancing.client, url(82), "--local-port", "40000-40100");
    const [name, address, port, serverPort, peer] = seen.split(" ");
    expect([name, address, serverPort, peer]).toEqual(["A", clientOf(balancing), "82", clientOf(balancing)]);
    expect(Number(port)).toBeGreaterThanOrEqual(40_000);
    const pooled = (await curl(balancing.client, url(83))).split(" ");
    expect([pooled[1], pooled[3], pooled[4]]).toEqual([clientOf(balancing), "83", pool]);
  });

  test("PROXY protocol v2: large transfers both ways stay whole", async () => {
    const { client, serverA, laboratory } = balancing;
    const file = `${laboratory.directory}/large`;
    await serverA.namespace.run(["sh", "-c", `head -c 50000000 /dev/urandom > ${file}`]);
    const { stdout } = await client.namespace.run([
      "bash",
      "-c",
      `set -o pipefail; sha256sum < ${file}; curl -sS --fail --max-time 60 '${url(82, `/files${file}`)}' | sha256sum`,
    ]);
    const [sent, received] = stdout.split("\n");
    expect(received).toBe(sent);
    // The request body is larger than many segments; nginx reads and drops it.
    const answer = await curl(client, url(82), "--data-binary", `@${file}`, "--header", "Expect:");
    expect(answer).toMatch(/^A /);
  });

  test("masquerade: servers open TCP connections in the virtual address's name", async () => {
    const { serverA, serverB, client } = balancing;
    const target = `http://${hostText(client[family])}/`;
    for (const host of [serverA, serverB]) expect(await curl(host, target)).toMatch(`outside ${vip} `);
  });

  test("masquerade: both servers from the same port at once", async () => {
    const { serverA, serverB, client } = balancing;
    const port = family === "ipv4" ? "5554" : "5556";
    const target = `http://${hostText(client[family])}/`;
    const ask = (host: Host) => curl(host, target, "--local-port", port);
    const seen = await Promise.all([ask(serverA), ask(serverB)]);
    const ports = seen.map((answer) => answer.split(" ")[2]);
    expect(new Set(ports).size, seen.join()).toBe(2);
    expect(ports).toContain(port);
  });

  test("masquerade: UDP and echo", async () => {
    const { serverA, client } = balancing;
    const { stdout } = await serverA.namespace.run(testProgram("udp-client", client[family], 7, 900, 20));
    expect(stdout).toContain("20 echoes");
    const ping = ["ping", "-c", "3", "-i", "0.2", "-W", "5", client[family]];
    expect((await serverA.namespace.run(ping)).stdout).toContain("3 received");
  });

  test("masquerade: an ICMP error about a masqueraded packet comes back to the server", async () => {
    const { serverA, client } = balancing;
    const { stdout } = await serverA.namespace.attempt(testProgram("udp-client", client[family], 9, 10, 1));
    expect(stdout).toContain("ECONNREFUSED");
  });
});

test("masqueraded connections are counted by rule, and nothing is left on the host afterwards", async () => {
  const { daemon, director } = balancing;
  const status = JSON.parse((await daemon.vsnat("status", "--json")).stdout) as {
    masquerade: { counters: { connections: number } }[];
  };
  expect(status.masquerade).toHaveLength(2);
  for (const { counters } of status.masquerade) expect(counters.connections).toBeGreaterThanOrEqual(6);
  await daemon.stop();
  const { stdout } = await director.run([
    "sh",
    "-c",
    "ip rule; ip -6 rule; ip route; ip -6 route; ip neigh show proxy",
  ]);
  expect(stdout).not.toMatch(/vs0|7683|202\.103\.106\.5|172\.16\.0\.250/);
});

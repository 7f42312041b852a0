/** DCC through the director with real programs: ngircd, WeeChat and irssi; two users behind the director, two outside. */
import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { type Founding, startFounding } from "../support/founding.ts";
import { type IrcUser, startIrssi, startNgircd, startWeechat } from "../support/irc-users.ts";

const FILE_BYTES = 300_000;
/** Ports of what the users inside offer. A service has the first ones, so others take their place. */
const PORTS = { wanda: [5000, 5019], ivan: [5020, 5039] } as const;
/** The IRC server is not where the users outside are. */
const IRC_SERVER = "202.100.1.3";

const CONFIGURATION = `services:
  - { listen: "tcp://${VIP.ipv4}:5000-5039", servers: ["172.16.0.3"] }
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [irc] }
`;

let founding: Founding;
const users = {} as Record<"wanda" | "ivan" | "walt" | "iris", IrcUser>;

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, laboratory } = founding;
  await client.namespace.ip(`address add ${IRC_SERVER}/24 dev eth0`, "route add unreachable 172.16.0.0/24");
  await founding.daemon.start(CONFIGURATION);
  await startNgircd(laboratory, client);
  const server = IRC_SERVER;
  const started = await Promise.all([
    startWeechat(laboratory, serverA, "wanda", { server, ports: PORTS.wanda }),
    startIrssi(laboratory, serverA, "ivan", { server, ports: PORTS.ivan }),
    startWeechat(laboratory, client, "walt", { server }),
    startIrssi(laboratory, client, "iris", { server }),
  ]);
  for (const user of started) Object.assign(users, { [user.nick]: user });
});
afterAll(() => founding?.laboratory.close());

/** A file of its own for each test. @param partBytes - as many are there already */
async function transfer(
  from: IrcUser,
  to: IrcUser,
  { partBytes = 0, isPassive = false } = {},
): Promise<void> {
  const path = join(founding.laboratory.directory, `${randomBytes(4).toString("hex")}.bin`);
  const bytes = randomBytes(FILE_BYTES);
  await writeFile(path, bytes);
  const file = basename(path);
  const received = to.received(file, from);
  if (partBytes > 0) await writeFile(to.part(file, from), bytes.subarray(0, partBytes));
  from.sendFile(to, path, isPassive);
  await to.waitForFile(file, from);
  expect(hash(await readFile(received))).toBe(hash(bytes));
}

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("SEND", () => {
  test.each([
    ["wanda", "walt"],
    ["wanda", "iris"],
    ["ivan", "walt"],
    ["ivan", "iris"],
    ["walt", "ivan"],
  ] as const)("from %s to %s", (from, to) => transfer(users[from], users[to]));

  test.each([
    ["ivan", "iris"],
    ["iris", "ivan"],
  ] as const)("passive, from %s to %s: the other one listens", (from, to) =>
    transfer(users[from], users[to], { isPassive: true }),
  );
});

describe("RESUME", () => {
  test.each([
    ["wanda", "walt"],
    ["ivan", "iris"],
  ] as const)("from %s to %s", (from, to) => transfer(users[from], users[to], { partBytes: 100_000 }));
});

describe("CHAT", () => {
  test.each([
    ["wanda", "walt"],
    ["ivan", "iris"],
  ] as const)("from %s to %s and back", async (from, to) => {
    const [inside, outside] = [users[from], users[to]];
    inside.offerChat(outside);
    await Promise.all([inside.waitForConnection(outside), outside.waitForConnection(inside)]);
    inside.chat(outside, "hello-from-inside");
    await outside.waitForChat(inside, "hello-from-inside");
    outside.chat(inside, "hello-from-outside");
    await inside.waitForChat(outside, "hello-from-outside");
  });
});

test("every offer from inside was shown on another port, and followed; RESUME and ACCEPT as well", async () => {
  const { stdout } = await founding.daemon.vsnat("status", "--json");
  const { applications } = JSON.parse(stdout) as {
    applications: { name: string; counters: Record<string, number> }[];
  };
  // Eight offers and chats, the answer to a passive one; two of them resumed.
  const wanted = { announced: 9, begun: 9, rewritten: 13, foreign: 0, lowPort: 0, noPlace: 0, failed: 0 };
  expect(applications.find(({ name }) => name === "irc")?.counters).toMatchObject(wanted);
});

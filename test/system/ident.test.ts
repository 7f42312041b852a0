/** Ident through the director with real programs: ngircd asks oidentd whose connection it has, over a port it does not know. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import type { Program } from "../../src/cli/demo/program.ts";
import { FAMILIES, type Founding, hostText, startFounding } from "../support/founding.ts";
import { startNgircd, withNames } from "../support/irc-users.ts";

/** Of VIP; the server's own is 6667. */
const VIRTUAL_PORT = 16_667;

let founding: Founding;
let ngircd: Program;

const configuration = (apps: string): string => {
  const services = FAMILIES.map(
    (family) => `
  - { listen: "tcp://${hostText(VIP[family])}:${VIRTUAL_PORT}", servers: ["${hostText(founding.serverA[family])}:6667"] }`,
  );
  return `services:${services.join("")}
masquerade:
  - { from: [172.16.0.0/24], to: 202.100.1.0/24, sources: [${VIP.ipv4}], apps: [${apps}] }
  - { from: ["fd00:16::/64"], to: "2001:db8:1::/64", sources: ["${VIP.ipv6}"], apps: [${apps}] }
`;
};

beforeAll(async () => {
  founding = await startFounding();
  const { client, serverA, laboratory, daemon } = founding;
  await daemon.start(configuration("ident"));
  ngircd = await startNgircd(laboratory, serverA, true);
  const command = ["oidentd", "--foreground", "--nosyslog", "--debug", "--user", "root"];
  const oidentd = client.namespace.start(await withNames(laboratory.directory, command));
  await waitForPort113(oidentd);
});
afterAll(() => founding?.laboratory.close());

/** oidentd says nothing until somebody asks. */
async function waitForPort113(oidentd: Program): Promise<void> {
  const ask = ["socat", "-t", "2", "-", "TCP:127.0.0.1:113,retry=40,interval=0.05"];
  const { stdout } = await founding.client.namespace.run(ask, { input: "1, 1\r\n" });
  expect(stdout, oidentd.stderr).toMatch(/ERROR/);
}

/** A user who says another name than his system knows. @returns how the server registers him */
async function register(nick: string, family: "ipv4" | "ipv6"): Promise<string> {
  const { namespace } = founding.client;
  const session = namespace.start(["socat", "-", `TCP:${hostText(VIP[family])}:${VIRTUAL_PORT}`], {
    isInteractive: true,
    input: `NICK ${nick}\r\nUSER pretended 0 * :x\r\n`,
  });
  const [, user = ""] = await ngircd.waitFor(new RegExp(`User "${nick}!(\\S+)@\\S+" registered`));
  await session.stop();
  return user;
}

describe.each(FAMILIES)("%s", (family) => {
  test("the server learns the user's name", async () => {
    expect(await register(`joe${family}`, family)).toBe("root");
  });
});

test("without the module it does not", async () => {
  await founding.daemon.reload(configuration(""));
  expect(await register("ann", "ipv4")).toBe("~pretended");
});

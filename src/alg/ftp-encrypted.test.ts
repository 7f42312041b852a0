/** FTP's module once a control connection is encrypted: the ports that the option passivePorts names, for its client only. */
import { describe, expect, test } from "vitest";
import { Conversation, call } from "../../test/support/conversation.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage } from "../../test/support/stage.ts";
import type { ServiceConfig } from "../nat/configuration.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const [A, B] = ["172.16.0.2", "172.16.0.3"];

/** Servers in turn, A first, each with passive ports of its own. */
const SERVICE: ServiceConfig = {
  ...service("tcp", VIP, 21, "rr", destination(A, 21), destination(B, 21)),
  app: "ftp",
  appOptions: {
    passivePorts: [
      { server: A, first: 30_000, last: 30_009 },
      { server: B, first: 30_010, last: 30_019 },
    ],
  },
};

function connect(stage: Stage, port: number, at = `${VIP}:21`): Conversation {
  return new Conversation(stage, `${CLIENT}:${port}`, at);
}

function encrypt(control: Conversation): void {
  control.say("AUTH TLS\r\n");
  control.answer("234 Proceed.\r\n");
}

const serverOf = ({ server }: Conversation): string => server.own.split(":")[0]!;
const portOf = (server: string, offset = 0): number => (server === A ? 30_000 : 30_010) + offset;

describe("with TLS", () => {
  test("each of its server's passive ports, as often as it likes, for this client only", () => {
    const stage = new Stage([SERVICE]);
    const control = connect(stage, 34_000);
    const server = serverOf(control);
    const port = portOf(server, 3);
    expect(call(stage, `${CLIENT}:40000`, `${VIP}:${port}`)).not.toContain("->");
    encrypt(control);
    for (const source of [40_001, 40_002])
      expect(call(stage, `${CLIENT}:${source}`, `${VIP}:${port}`)).toBe(
        `${CLIENT}:${source} -> ${server}:${port}`,
      );
    expect(call(stage, `${CLIENT}:40003`, `${VIP}:${portOf(server, 9)}`)).toContain("->");
    for (const refused of [portOf(server) - 1, portOf(server, 10)])
      expect(call(stage, `${CLIENT}:40004`, `${VIP}:${refused}`)).not.toContain("->");
    expect(call(stage, "202.100.1.9:40005", `${VIP}:${port}`)).not.toContain("->");
  });

  test("two connections of a client to two servers have two ranges", () => {
    const stage = new Stage([SERVICE]);
    const controls = [connect(stage, 34_000), connect(stage, 34_001)];
    for (const control of controls) encrypt(control);
    expect(controls.map(serverOf).sort()).toEqual([A, B]);
    for (const server of [A, B])
      expect(call(stage, `${CLIENT}:40000`, `${VIP}:${portOf(server)}`)).toContain(`-> ${server}:`);
  });

  test("nothing comes any more once the control connection ends", () => {
    const stage = new Stage([SERVICE]);
    const control = connect(stage, 34_000);
    encrypt(control);
    control.finish();
    expect(call(stage, `${CLIENT}:40000`, `${VIP}:${portOf(serverOf(control))}`)).not.toContain("->");
  });

  test.each([
    ["AUTH that is refused", "AUTH TLS\r\n", "534 No.\r\n"],
    ["234 that nobody asked for", "NOOP\r\n", "234 Proceed.\r\n"],
  ])("%s changes nothing", (_, said, answered) => {
    const stage = new Stage([SERVICE]);
    const control = connect(stage, 34_000);
    control.say(said);
    control.answer(answered);
    expect(call(stage, `${CLIENT}:40000`, `${VIP}:${portOf(serverOf(control))}`)).not.toContain("->");
  });

  test("full NAT, and one range for every server", () => {
    const appOptions = { passivePorts: [{ first: 30_000, last: 30_019 }] };
    const fullNat = { sources: ["172.16.0.250"], clients: "all" } as const;
    const stage = new Stage([{ ...SERVICE, appOptions, fullNat }]);
    const control = connect(stage, 34_000);
    encrypt(control);
    expect(call(stage, `${CLIENT}:40000`, `${VIP}:30015`)).toBe(
      `172.16.0.250:40000 -> ${serverOf(control)}:30015`,
    );
  });
});

test("port 990 is encrypted from its first byte on", () => {
  const stage = new Stage([{ ...SERVICE, port: 990 }]);
  const control = connect(stage, 34_000, `${VIP}:990`);
  const server = serverOf(control);
  expect(control.say("PASV\r\n")).toBe("PASV\r\n");
  const reply = `227 (${server.replaceAll(".", ",")},117,54)\r\n`;
  expect(control.answer(reply)).toBe(reply);
  expect(call(stage, `${CLIENT}:40000`, `${VIP}:${portOf(server)}`)).toContain(`-> ${server}:`);
});

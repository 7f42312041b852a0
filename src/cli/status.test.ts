/** What people read of a running daemon. */
import { expect, test } from "vitest";
import { STATUS, TROUBLED_FAST_PATH } from "../../test/support/status.ts";
import type { Status } from "../api/operations.ts";
import type { ReloadResult } from "../control/daemon.ts";
import { formatReload } from "./reload.ts";
import { formatStatus } from "./status.ts";

const plain = (_: unknown, text: string): string => text;

test("status shows what runs, what defends, what failed, and what was changed by hand", () => {
  expect(formatStatus(STATUS, plain)).toEqual([
    "vsnat 1, pid 2, up 1m 1s, vsnat.yaml, device vs0",
    "connections 1 of 10, 5 made",
    "packets to servers 1, to clients 2, own replies 4, passed 3, dropped 5",
    "fast path off",
    "defences: drop_packet automatic, in action; secure_tcp automatic, at rest",
    "",
    expect.stringMatching(/^ +weight +active +inactive +conns .* out B\/s +templates$/),
    expect.stringMatching(
      /^tcp:\/\/192\.0\.2\.1:80 sh sh-port, persistent 300 s mask 255\.255\.255\.0, removed servers reset +4 +2 +7 .* 3$/,
    ),
    expect.stringMatching(/^ {2}10\.0\.0\.1:80 quiesced by hand +0 +2 +1 +0 .* 3$/),
    expect.stringMatching(/^ {2}10\.0\.0\.2:80 overloaded +1 +2 +1 .* 0$/),
    expect.stringMatching(/^fwmark6:\/\/7 mine by hand +2 +1 +0( +0){5}$/),
    expect.stringMatching(/^ {2}\[fd00::1\]:0 +1 +2 +1( +0){6}$/),
    expect.stringMatching(/^masquerade 10\.0\.0\.0\/24 as 192\.0\.2\.1 +4 +9( +0){5}$/),
    "fwmark6://7 scheduler mine: it threw·[2J",
    "",
    "changed by hand",
    "  server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 -> 0, since 2026-11-23 22:00:00Z",
    "  service fwmark6 7: added, since 2026-11-23 22:00:00Z",
    "  server 10.0.0.2:80 of tcp 192.0.2.1:80: changed, since 2026-11-23 22:00:00Z (without effect: the file says the same)",
    "",
    "module ftp: connections 3, rewritten 4, refused for a port below 1024 1",
    "",
    "dropped packets",
    "  defence  5",
  ]);
});

test("without anything special, nothing special is shown", () => {
  const text = formatStatus(
    { ...STATUS, services: [], masquerade: [], defences: [], applications: [], manual: [], drops: {} },
    plain,
  ).join("\n");
  expect(text).toMatch(/no services$/);
  expect(text).not.toMatch(/templates|defences|by hand|masquerade/);
});

test.each<[string, Status["fastPath"], string]>([
  ["off", { state: "off" }, "fast path off"],
  [
    "not there",
    { state: "unavailable", obstacle: "program-refused", reason: "Cannot load the fast path (R1 !)" },
    "no fast path: Cannot load the fast path (R1 !)",
  ],
  [
    "on",
    {
      ...TROUBLED_FAST_PATH,
      suspendedBy: [],
      delegated: 0,
      interfaces: [],
      lostInterfaces: 0,
      mismatches: 0,
      refused: 0,
    },
    "fast path on: connections 6, interfaces 0, audited packets 12",
  ],
  [
    "in trouble",
    TROUBLED_FAST_PATH,
    "fast path suspended by trace: connections 6, interfaces inside outside, audited packets 12, servers chosen for 2 services, 20 connections begun, " +
      "not at vlan7 (ERANGE), interfaces lost 1, wrong 1, off for IPv4 TCP to the server, refused 7",
  ],
])("a fast path that is %s is one line", (_, fastPath, line) => {
  expect(formatStatus({ ...STATUS, fastPath }, plain)).toContain(line);
});

test("reload says what changed, what waits, and what became of changes by hand", () => {
  const [kept, , dormant] = STATUS.manual;
  const overriding = { ...kept!, what: "weight 3 -> 0" };
  const result: ReloadResult = {
    changes: [{ kind: "remove", subject: "tcp 192.0.2.1:81", connections: 3 }],
    settings: ["timeouts"],
    needsRestart: ["host.device"],
    manual: [overriding, dormant!],
    overriding: [overriding],
    discarded: [],
  };
  expect(formatReload(result, plain)).toEqual([
    "remove tcp 192.0.2.1:81 (3 connections go on)",
    "edit timeouts",
    "needs a restart: host.device",
    "kept against the file, changed by hand: server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 3 -> 0, since 2026-11-23 22:00:00Z",
    "kept, changed by hand: server 10.0.0.2:80 of tcp 192.0.2.1:80: changed, since 2026-11-23 22:00:00Z (without effect: the file says the same)",
  ]);
  const dropped = {
    ...result,
    changes: [],
    settings: [],
    needsRestart: [],
    manual: [],
    overriding: [],
    discarded: [kept!],
  };
  expect(formatReload(dropped, plain)).toEqual([
    "no service or server changed",
    "dropped, changed by hand: server 10.0.0.1:80 of tcp 192.0.2.1:80: weight 1 -> 0, since 2026-11-23 22:00:00Z",
  ]);
});

import { expect, it } from "vitest";
import type { HostProbe } from "../datapath/tun/probe.ts";
import { examine } from "./doctor.ts";

const GOOD: HostProbe = {
  kernelVersion: "6.18",
  canOpenTun: "yes",
  canCreateTun: "yes",
  offload: "udp",
  hasNetAdmin: true,
  hasNetRaw: true,
  isInUserNamespace: false,
  canForwardIpv4: true,
  canForwardIpv6: true,
  hasIpv6: true,
  hasPolicyRules: true,
};

const findings = (change: Partial<HostProbe>) =>
  examine({ ...GOOD, ...change })
    .filter(({ verdict }) => verdict !== "ok")
    .map(({ verdict, subject }) => `${verdict} ${subject}`);

it.each<[string, Partial<HostProbe>, string[]]>([
  ["everything is there", {}, []],
  [
    "no driver",
    { canOpenTun: "ENOENT", canCreateTun: "ENOENT", offload: undefined },
    ["missing TUN", "limited large packets"],
  ],
  [
    "no privileges",
    {
      canCreateTun: "EPERM",
      offload: undefined,
      hasNetAdmin: false,
      hasNetRaw: false,
      canForwardIpv4: false,
    },
    [
      "missing TUN",
      "missing privileges",
      "limited large packets",
      "missing IPv4 forwarding",
      "limited announcements",
    ],
  ],
  ["an old kernel", { offload: "none" }, ["limited large packets"]],
  ["no IPv6", { hasIpv6: false, canForwardIpv6: false }, ["limited IPv6"]],
  ["no policy routing", { hasPolicyRules: false }, ["missing policy routing"]],
  ["a user namespace", { isInUserNamespace: true }, ["limited user namespace"]],
])("%s", (_, change, expected) => {
  expect(findings(change)).toEqual(expected);
});

it("says what to do about everything that is missing", () => {
  const nothing = { canOpenTun: "EACCES", hasNetAdmin: false, canForwardIpv4: false, hasPolicyRules: false };
  for (const { verdict, advice } of examine({ ...GOOD, ...nothing })) {
    if (verdict === "missing") expect(advice).toBeTruthy();
  }
});

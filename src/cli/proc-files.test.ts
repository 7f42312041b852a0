/** What the recordings compared in test/golden/vsadm-listings.test.ts do not have. Layouts: ip_vs_ctl.c, ip_vs_conn.c. */
import { expect, test } from "vitest";
import { seconds } from "../base/environment.ts";
import type { ConnectionStatus, DirectorStatus, ServiceStatus } from "../control/director-status.ts";
import { procConnectionOrigins, procConnections, procServices, procStatsPerProcessor } from "./proc-files.ts";

const NONE = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };

const service = (more: Partial<ServiceStatus>): ServiceStatus => ({
  protocol: "tcp",
  address: "192.0.2.10",
  port: 80,
  scheduler: "wrr",
  counters: NONE,
  rates: NONE,
  destinations: [],
  ...more,
});

const status = (more: Partial<DirectorStatus>) =>
  ({
    connections: { count: 0, max: 4096, createdCount: 0 },
    services: [],
    counters: NONE,
    rates: NONE,
    ...more,
  }) as unknown as DirectorStatus;

test("flags of services, and mark services at the end", () => {
  const timeout = seconds(360);
  const mark = { protocol: "fwmark", address: "0.0.0.0", port: 0, mark: 7 } as const;
  const v6 = { address: "2001:db8::a", port: 443 };
  const services = [
    service({ ...mark, scheduler: "wlc", persistence: { timeout, netmask: "255.255.255.0" } }),
    service({ persistence: { timeout } }),
    service({ protocol: "udp", port: 53, scheduler: "rr", isOnePacket: true }),
    service({ protocol: "sctp", port: 36_412, isOnePacket: true, persistence: { timeout } }),
    service({ ...v6, scheduler: "mh", persistence: { timeout, netmask: "64" } }),
  ];
  expect(procServices(status({ services })).split("\n").slice(3)).toEqual([
    "TCP  C000020A:0050 wrr  persistent 36000 FFFFFFFF",
    "UDP  C000020A:0035 rr ops  ",
    "SCTP  C000020A:8E3C wrr ops  persistent 36000 FFFFFFFF",
    "TCP  [2001:0db8:0000:0000:0000:0000:0000:000a]:01BB mh persistent 36000 40000000",
    "FWM  00000007 wlc persistent 36000 FFFFFF00",
    "",
  ]);
});

test("templates, of a mark and of a persistence engine", () => {
  const template = {
    state: "NONE",
    client: { address: "198.51.100.0", port: 0 },
    destination: { address: "10.0.0.31", port: 0 },
    isTemplate: true,
  };
  const connections: ConnectionStatus[] = [
    { ...template, protocol: "ip", virtual: { address: "0.0.0.7", port: 0 }, expiresSeconds: 60 },
    {
      ...{
        ...template,
        protocol: "udp",
        virtual: { address: "192.0.2.10", port: 5060 },
        expiresSeconds: 298,
      },
      engine: { name: "sip", data: "a84b4c76e66710" },
    },
  ];
  expect(procConnections(connections).split("\n").slice(1)).toEqual([
    "IP  C6336400 0000 00000007 0000 0A00001F 0000 NONE             60",
    "UDP C6336400 0000 C000020A 13C4 0A00001F 0000 NONE            298 sip a84b4c76e66710",
    "",
  ]);
});

test("where connections come from, laid out as in the reference's section 6.4", () => {
  const connection: ConnectionStatus = {
    protocol: "tcp",
    state: "ESTABLISHED",
    client: { address: "198.51.100.7", port: 51_514 },
    virtual: { address: "192.0.2.10", port: 80 },
    destination: { address: "10.0.0.12", port: 8080 },
    isTemplate: false,
    expiresSeconds: 893,
  };
  const client = { address: "198.51.100.8", port: 40_022 };
  const copied = { ...connection, client, isSynchronised: true, expiresSeconds: 612 };
  expect(procConnectionOrigins([connection, copied]).split("\n")).toEqual([
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires",
    "TCP C6336407 C93A C000020A 0050 0A00000C 1F90 ESTABLISHED LOCAL      893",
    "TCP C6336408 9C56 C000020A 0050 0A00000C 1F90 ESTABLISHED SYNC       612",
    "",
  ]);
});

test("the file of counters by processor, as recorded", () => {
  const counters = { connections: 5, inPackets: 30, outPackets: 20, inBytes: 1990, outBytes: 1656 };
  const rates = { connections: 1, inPackets: 4, outPackets: 2, inBytes: 249, outBytes: 207 };
  expect(procStatsPerProcessor(status({ counters, rates })).split("\n")).toEqual([
    "       Total Incoming Outgoing         Incoming         Outgoing",
    "CPU    Conns  Packets  Packets            Bytes            Bytes",
    "  0        5       1E       14              7C6              678",
    "  ~        5       1E       14              7C6              678",
    "",
    "     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s",
    "           1        4        2               F9               CF",
    "",
  ]);
});

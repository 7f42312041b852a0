/** What the recordings compared in test/golden do not have. Formats: ipvsadm.c of version 1.31. */
import { describe, expect, it } from "vitest";
import { seconds } from "../../base/environment.ts";
import type {
  ConnectionStatus,
  DestinationStatus,
  ServiceStatus,
  TrafficCounters,
} from "../../control/director-status.ts";
import { namedLabel, numericLabel } from "./labels.ts";
import {
  type ListFormat,
  largeNumber,
  listConnections,
  listDaemons,
  listServices,
  type SyncDaemonStatus,
} from "./listing.ts";
import { PortNames } from "./names.ts";
import { savedRules } from "./saved-rules.ts";

const traffic = (...values: [number, number, number, number, number]): TrafficCounters => {
  const [connections, inPackets, outPackets, inBytes, outBytes] = values;
  return { connections, inPackets, outPackets, inBytes, outBytes };
};
const NONE = traffic(0, 0, 0, 0, 0);

const server = (address: string, port: number, more: Partial<DestinationStatus> = {}): DestinationStatus => ({
  ...{ address, port, weight: 1, upperThreshold: 0, lowerThreshold: 0, isOverloaded: false },
  ...{ activeConnections: 3, inactiveConnections: 31, persistentConnections: 4, counters: NONE, rates: NONE },
  ...more,
});
const service = (more: Partial<ServiceStatus>): ServiceStatus => ({
  ...{ protocol: "tcp", address: "192.0.2.10", port: 80, scheduler: "wrr", destinations: [] },
  ...{ counters: NONE, rates: NONE },
  ...more,
});

const FORMAT: ListFormat = {
  variant: "plain",
  isNumeric: true,
  isExact: false,
  isUnsorted: false,
  isJson: false,
};
const list = (services: readonly ServiceStatus[], more: Partial<ListFormat> = {}) =>
  listServices(services, { ...FORMAT, ...more }, numericLabel).slice(2);

const persistence = { timeout: seconds(300) };
const mark = { protocol: "fwmark", address: "0.0.0.0", port: 0, mark: 7 } as const;

describe("a service's line", () => {
  it.each<[string, string, Partial<ServiceStatus>]>([
    ["SCTP 192.0.2.10:80 sh (sh-fallback,sh-port)", "--sctp-service 192.0.2.10:80 -s sh -b sh-fallback,sh-port",
      { protocol: "sctp", scheduler: "sh", schedulerFlags: ["sh-port", "sh-fallback"] }],
    ["UDP  192.0.2.10:80 rr persistent 300 pe sip ops", "-u 192.0.2.10:80 -s rr -p 300 --pe sip -o",
      { protocol: "udp", scheduler: "rr", persistence: { ...persistence, engine: "sip" }, isOnePacket: true }],
    ["TCP  [2001:db8::a]:80 mh (mh-port,flag-3) persistent 300 mask 64",
      "-t [2001:db8::a]:80 -s mh -p 300 -M 64 -b mh-port,flag-3",
      { address: "2001:db8::a", scheduler: "mh", schedulerFlags: ["flag-3", "flag-2"],
        persistence: { ...persistence, netmask: "64" } }],
    ["FWM  7 wrr persistent 300 mask 255.255.255.0", "-f 7 -s wrr -p 300 -M 255.255.255.0",
      { ...mark, persistence: { ...persistence, netmask: "255.255.255.0" } }],
    ["FWM  7 IPv6 wrr", "-f 7 -6 -s wrr", { ...mark, address: "::" }],
    ["TCP  192.0.2.10:80-89 wrr", "-t 192.0.2.10:80-89 -s wrr", { lastPort: 89 }],
  ])("%s", (line, rule, more) => {
    expect(list([service(more)])).toEqual([line]);
    expect(savedRules([service(more)], numericLabel)).toEqual([`-A ${rule}`]);
  }); // biome-ignore format: rows
});

describe("a server's line", () => {
  const one = server("10.0.0.11", 8080, { weight: 65_536, upperThreshold: 2000, lowerThreshold: 1500 });

  it.each([
    ["plain", "  -> 10.0.0.11:8080               Masq    65536  3          31        "],
    ["tun-info", "  -> 10.0.0.11:8080               Masq    n/a           65536  3          31        "],
    ["thresholds", "  -> 10.0.0.11:8080               2000       1500       3          31        "],
    ["persistent-conn", "  -> 10.0.0.11:8080               65536     4           3          31        "],
  ] as const)("%s", (variant, line) => {
    expect(list([service({ destinations: [one] })], { variant })[1]).toBe(line);
  });

  it("has rates of connections and packets in full, of bytes shortened", () => {
    const rates = traffic(123_456_789, 1, 2, 123_456_789, 5);
    const { length } = "  -> ".padEnd(33);
    const [ofService, ofServer] = list(
      [service({ rates, destinations: [server("10.0.0.1", 80, { rates })] })],
      {
        variant: "rate",
      },
    );
    expect(ofService!.slice(length)).toBe("  123456K        1        2  123456K        5");
    expect(ofServer!.slice(length)).toBe(" 123456789        1        2  123456K        5");
  });
});

it("sorts address services before marks, IPv4 before IPv6, TCP before UDP, and compares IPv4 as ipvsadm does", () => {
  const services = [
    service(mark),
    service({ address: "2001:db8::a" }),
    service({ protocol: "udp" }),
    service({ port: 443 }),
    service({ address: "10.0.0.1" }),
    service({}),
  ];
  expect(list(services).map((line) => line.split(" wrr")[0])).toEqual([
    "TCP  192.0.2.10:80", // 10.0.0.1 is more than 2^31 away
    "TCP  192.0.2.10:443",
    "TCP  10.0.0.1:80",
    "UDP  192.0.2.10:80",
    "TCP  [2001:db8::a]:80",
    "FWM  7",
  ]);
});

it("cuts IPv4 names, and never IPv6 addresses", async () => {
  const portNames = new PortNames("http 80/tcp");
  const names = {
    addressOf: async () => undefined,
    hostOf: async () => "a-rather-long-name.example.org",
    portOf: () => undefined,
    serviceOf: (port: number, protocol: "tcp" | "udp" | "sctp") => portNames.serviceOf(port, protocol),
  };
  const destinations = [server("10.0.0.1", 80)];
  const wide = { address: "2001:db8:1111:2222:3333:4444:5555:6666", port: 80, destinations };
  const label = await namedLabel([service({}), ...destinations], names);
  expect(listServices([service({ destinations }), service(wide)], FORMAT, label).slice(2)).toEqual([
    "TCP  a-rather-long-name.example.o wrr",
    "  -> a-rather-long-name.example.o Masq    1      3          31        ",
    "TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:http wrr",
    "  -> a-rather-long-name.example.o Masq    1      3          31        ",
  ]);
});

it("lists connections, templates and what a persistence engine pins by", () => {
  const virtual = { address: "192.0.2.10", port: 5060 };
  const destination = { address: "10.0.0.21", port: 5060 };
  const client = { address: "198.51.100.0", port: 0 };
  const template = { state: "NONE", client, destination, isTemplate: true } as const;
  const connections: ConnectionStatus[] = [
    { ...template, protocol: "ip", virtual: { address: "0.0.0.7", port: 0 }, expiresSeconds: 60 },
    { ...template, protocol: "udp", virtual, expiresSeconds: 6001, engine: { name: "sip", data: "a84b4c" } },
  ];
  expect(listConnections(connections, false, numericLabel)).toEqual([
    "IPVS connection entries",
    "pro expire state       source             virtual            destination",
    "IP  01:00  NONE        198.51.100.0:0     0.0.0.7:0          10.0.0.21:5060",
    "UDP 100:01 NONE        198.51.100.0:0     192.0.2.10:5060    10.0.0.21:5060",
  ]);
  expect(listConnections(connections, true, numericLabel).slice(1)).toEqual([
    "pro expire state       source             virtual            destination        pe name          pe_data",
    "IP  01:00  NONE        198.51.100.0:0     0.0.0.7:0          10.0.0.21:5060",
    "UDP 100:01 NONE        198.51.100.0:0     192.0.2.10:5060    10.0.0.21:5060   sip                a84b4c",
  ]);
});

it("lists masters before backups", () => {
  const backup: SyncDaemonStatus = {
    ...{
      role: "backup",
      interface: "eth0",
      syncId: 1,
      group: "224.0.0.81",
      port: 8848,
      ttl: 1,
      maxLength: 1472,
    },
  };
  const rest = "sync daemon (mcast=eth0, syncid=1, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)";
  expect(listDaemons([backup, { ...backup, role: "master" }])).toEqual([`master ${rest}`, `backup ${rest}`]);
});

it.each([
  [0, false, "        0"],
  [99_999_999, false, " 99999999"],
  [100_000_000, false, "  100000K"],
  [987_654_321, false, "  987654K"],
  [41_152_000_000, false, "   41152M"],
  [123_456_789_012, false, "     123G"],
  [2e14, false, "     200T"],
  [987_654_321, true, " 987654321"],
  [123_456_789_012, true, " 123456789012"],
])("largeNumber(%d, exact %s)", (value, isExact, text) => {
  expect(largeNumber(value, isExact)).toBe(text);
});

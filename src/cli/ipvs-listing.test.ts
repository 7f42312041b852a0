import { describe, expect, it } from "vitest";
import type { DestinationStatus, ServiceStatus, TrafficCounters } from "../control/director-status.ts";
import { banner, largeNumber, listConnections, listServices } from "./ipvs-listing.ts";

const traffic = (...values: [number, number, number, number, number]): TrafficCounters => {
  const [connections, inPackets, outPackets, inBytes, outBytes] = values;
  return { connections, inPackets, outPackets, inBytes, outBytes };
};
const NONE = traffic(0, 0, 0, 0, 0);

function server(
  address: string,
  port: number,
  weight: number,
  more: Partial<DestinationStatus> = {},
): DestinationStatus {
  const counts = { activeConnections: 0, inactiveConnections: 0, isOverloaded: false };
  return {
    address, port, weight, upperThreshold: 0, lowerThreshold: 0, ...counts, counters: NONE, rates: NONE, ...more,
  }; // biome-ignore format: a row
}

/** As a real kernel had it after twelve connections; the listings below are what ipvsadm 1.31 printed then. */
const SERVICES: readonly ServiceStatus[] = [
  {
    protocol: "tcp",
    address: "202.103.106.5",
    port: 80,
    scheduler: "wrr",
    counters: traffic(5, 30, 20, 1990, 1656),
    rates: traffic(1, 4, 2, 249, 207),
    destinations: [
      server("172.16.0.3", 8000, 2, {
        inactiveConnections: 8,
        counters: traffic(3, 18, 12, 1194, 996),
        rates: traffic(0, 2, 1, 149, 124),
      }),
      server("172.16.0.2", 80, 1, {
        inactiveConnections: 4,
        counters: traffic(2, 12, 8, 796, 660),
        rates: traffic(0, 1, 1, 99, 82),
      }),
    ],
  },
  {
    protocol: "tcp",
    address: "202.103.106.5",
    port: 21,
    scheduler: "wrr",
    counters: NONE,
    rates: NONE,
    destinations: [server("172.16.0.3", 21, 1)],
  },
];

const list = (variant: Parameters<typeof listServices>[1]["variant"], more = {}) =>
  listServices(SERVICES, { variant, isExact: false, isUnsorted: false, ...more });

describe("listServices prints what ipvsadm printed", () => {
  it("-Ln", () => {
    expect([banner(4096), ...list("plain")]).toEqual([
      "IP Virtual Server version 1.2.1 (size=4096)",
      "Prot LocalAddress:Port Scheduler Flags",
      "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
      "TCP  202.103.106.5:21 wrr",
      "  -> 172.16.0.3:21                Masq    1      0          0         ",
      "TCP  202.103.106.5:80 wrr",
      "  -> 172.16.0.2:80                Masq    1      0          4         ",
      "  -> 172.16.0.3:8000              Masq    2      0          8         ",
    ]);
  });

  it("-Ln --stats", () => {
    expect(list("stats")).toEqual([
      "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
      "  -> RemoteAddress:Port",
      "TCP  202.103.106.5:21                    0        0        0        0        0",
      "  -> 172.16.0.3:21                       0        0        0        0        0",
      "TCP  202.103.106.5:80                    5       30       20     1990     1656",
      "  -> 172.16.0.2:80                       2       12        8      796      660",
      "  -> 172.16.0.3:8000                     3       18       12     1194      996",
    ]);
  });

  it("-Ln --rate", () => {
    expect(list("rate").slice(4)).toEqual([
      "TCP  202.103.106.5:80                    1        4        2      249      207",
      "  -> 172.16.0.2:80                       0        1        1       99       82",
      "  -> 172.16.0.3:8000                     0        2        1      149      124",
    ]);
  });

  it("-Ln --thresholds", () => {
    expect(list("thresholds").slice(0, 6)).toEqual([
      "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn ",
      "  -> RemoteAddress:Port",
      "TCP  202.103.106.5:21 wrr",
      "  -> 172.16.0.3:21                0          0          0          0         ",
      "TCP  202.103.106.5:80 wrr",
      "  -> 172.16.0.2:80                0          0          0          4         ",
    ]);
  });

  it("-Ln --persistent-conn", () => {
    expect(list("persistent-conn").slice(4)).toEqual([
      "TCP  202.103.106.5:80 wrr",
      "  -> 172.16.0.2:80                1         0           0          4         ",
      "  -> 172.16.0.3:8000              2         0           0          8         ",
    ]);
  });

  it("-Ln --nosort: the director's order", () => {
    const lines = list("plain", { isUnsorted: true });
    expect(lines.filter((line) => line.startsWith("TCP"))).toEqual([
      "TCP  202.103.106.5:80 wrr",
      "TCP  202.103.106.5:21 wrr",
    ]);
    expect(lines[3]).toContain("172.16.0.3:8000");
  });

  it("IPv6 shifts the columns instead of being cut", () => {
    const service = {
      ...SERVICES[1]!,
      address: "2001:db8:5::5",
      port: 80,
      destinations: [server("fd00:16::2", 80, 4)],
    };
    expect(listServices([service], { variant: "plain", isExact: false, isUnsorted: false }).slice(2)).toEqual(
      [
        "TCP  [2001:db8:5::5]:80 wrr",
        "  -> [fd00:16::2]:80              Masq    4      0          0         ",
      ],
    );
  });
});

it("listConnections prints what ipvsadm -Lnc printed", () => {
  const virtual = { address: "202.103.106.5", port: 80 };
  const destination = { address: "172.16.0.2", port: 80 };
  const client = { address: "202.100.1.2", port: 3457 };
  const v6 = {
    client: { address: "2001:db8:1::2", port: 9005 },
    virtual: { address: "2001:db8:5::5", port: 80 },
    destination: { address: "fd00:16::3", port: 8000 },
  };
  const lines = listConnections([
    { protocol: "tcp", state: "TIME_WAIT", client, virtual, destination, expiresSeconds: 117 },
    { protocol: "tcp", state: "ESTABLISHED", ...v6, expiresSeconds: 900 },
  ]);
  expect(lines).toEqual([
    "IPVS connection entries",
    "pro expire state       source             virtual            destination",
    "TCP 01:57  TIME_WAIT   202.100.1.2:3457   202.103.106.5:80   172.16.0.2:80",
    "TCP 15:00  ESTABLISHED [2001:db8:1::2]:9005 [2001:db8:5::5]:80 [fd00:16::3]:8000",
  ]);
});

it.each([
  [0, false, "        0"],
  [99_999_999, false, " 99999999"],
  [987_654_321, false, "  987654K"],
  [41_152_000_000, false, "   41152M"],
  [123_456_789_012, false, "     123G"],
  [2e14, false, "     200T"],
  [987_654_321, true, " 987654321"],
  [123_456_789_012, true, " 123456789012"],
])("largeNumber(%d, exact %s)", (value, isExact, text) => {
  expect(largeNumber(value, isExact)).toBe(text);
});

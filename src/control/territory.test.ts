import { expect, it } from "vitest";
import { prefixOf } from "../datapath/tun/host/prefix.ts";
import type { DirectorConfig } from "../nat/configuration.ts";
import { parseConfig } from "./config/config.ts";
import { territoryOf } from "./territory.ts";

function directorConfig(text: string): DirectorConfig {
  const result = parseConfig(text);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return result.config.director;
}

const CONFIG = directorConfig(`
services:
  - { listen: "tcp://203.0.113.10:80", servers: [172.16.0.2, 172.16.0.3], fullNat: { sources: [172.16.0.250] } }
  - { listen: "tcp://203.0.113.10:443", servers: [172.16.0.3, 172.16.0.4], fullNat: { sources: [172.16.0.250], clients: servers } }
  - { listen: "udp://203.0.113.11:53", servers: [172.16.0.4] }
  - { listen: "fwmark://7", servers: [172.16.0.2] , fullNat: { sources: [172.16.0.251] } }
marks: [{ mark: 7, destination: 198.51.100.0/24 }]
masquerade: [{ from: [172.16.0.0/24, 10.5.0.0/16], sources: [203.0.113.10, 203.0.113.12] }]
`);

it("is what services, rules and pools need, each address once", () => {
  expect(territoryOf(CONFIG)).toEqual({
    virtual: ["203.0.113.10", "203.0.113.11", "198.51.100.0/24"].map(prefixOf),
    sources: ["172.16.0.250", "172.16.0.251", "203.0.113.12"],
    servers: [
      { address: "172.16.0.2", sees: "nobody" },
      { address: "172.16.0.3", sees: "clients" },
      { address: "172.16.0.4", sees: "all" },
    ],
    behind: ["172.16.0.0/24", "10.5.0.0/16"].map(prefixOf),
  });
});

it("keeps what live connections still need", () => {
  const draining = { virtualAddresses: ["203.0.113.99"], serverAddresses: ["172.16.0.9", "172.16.0.4"] };
  const { virtual, servers } = territoryOf(CONFIG, draining);
  expect(virtual.at(-1)).toEqual(prefixOf("203.0.113.99"));
  expect(servers.map(({ address }) => address)).toEqual([
    "172.16.0.2",
    "172.16.0.3",
    "172.16.0.4",
    "172.16.0.9",
  ]);
});

it("claims no address for services that have none", () => {
  const { virtual } = territoryOf(directorConfig("services: [{ listen: fwmark6://7, servers: [] }]"));
  expect(virtual).toEqual([]);
});

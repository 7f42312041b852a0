/** From what the director should do to what it needs of the host. */
import { prefixOf } from "../datapath/tun/host/prefix.ts";
import type { ServerPlace, Territory } from "../datapath/tun/host/territory.ts";
import type { DirectorConfig } from "../nat/configuration.ts";
import type { DrainingAddresses } from "./datapath-protocol.ts";

export const NOTHING_DRAINS: DrainingAddresses = { virtualAddresses: [], serverAddresses: [] };

/** Whose packets a configuration needs, and what live connections of removed services and servers still do. */
export function territoryOf(
  { services, marks, masquerade }: DirectorConfig,
  { virtualAddresses, serverAddresses }: DrainingAddresses = NOTHING_DRAINS,
): Territory {
  const virtual = new Set(services.flatMap(({ address, mark }) => (mark === undefined ? [address] : [])));
  const sources = [
    ...services.flatMap((it) => it.fullNat?.sources ?? []),
    ...masquerade.flatMap((it) => it.sources),
  ];
  const servers = new Map<string, ServerPlace["sees"]>();
  for (const { destinations, fullNat } of services)
    for (const { address } of destinations)
      servers.set(
        address,
        moreOf(servers.get(address) ?? "nobody", SEEN_THROUGH[fullNat?.clients ?? "none"]),
      );
  for (const address of serverAddresses) servers.set(address, servers.get(address) ?? "nobody");
  return {
    virtual: [...virtual, ...marks.map(({ destination }) => destination), ...virtualAddresses].map(prefixOf),
    sources: [...new Set(sources)].filter((address) => !virtual.has(address)),
    servers: [...servers].map(([address, sees]) => ({ address, sees })),
    behind: masquerade.flatMap(({ from }) => from).map(prefixOf),
  };
}

/** Whom servers see at their own addresses, by the clients that full NAT is for. */
const SEEN_THROUGH = { none: "all", servers: "clients", all: "nobody" } as const;

const moreOf = (a: ServerPlace["sees"], b: ServerPlace["sees"]): ServerPlace["sees"] =>
  (["all", "clients", "nobody"] as const).find((it) => it === a || it === b)!;

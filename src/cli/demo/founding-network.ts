/**
 * The network of the founding example, IPv4 and its IPv6 twin, without any director in it:
 *
 *   client 202.100.1.2 ── 202.100.1.1 director 172.16.0.1 ──┬── server A 172.16.0.2
 *          2001:db8:1::2  2001:db8:1::1        fd00:16::1   └── server B 172.16.0.3 (fd00:16::2, fd00:16::3)
 *
 * The client reaches everything, the VIPs 202.103.106.5 and 2001:db8:5::5 included, through the director; the real
 * servers' gateway is the director; the VIPs are on no interface. Forwarding in the director is left as it is in a new
 * namespace (off): making the host a router is the daemon's work.
 */
import type { Laboratory, Namespace } from "./laboratory.ts";

export interface Host {
  readonly namespace: Namespace;
  readonly ipv4: string;
  readonly ipv6: string;
}

export const VIP = { ipv4: "202.103.106.5", ipv6: "2001:db8:5::5" } as const;
/** The director's interfaces. */
export const OUTSIDE = "outside";
export const INSIDE = "inside";
/** Everybody else's only interface. */
export const PORT = "eth0";

const CLIENT = { ipv4: "202.100.1.2", ipv6: "2001:db8:1::2" } as const;
const SERVER_A = { ipv4: "172.16.0.2", ipv6: "fd00:16::2" } as const;
const SERVER_B = { ipv4: "172.16.0.3", ipv6: "fd00:16::3" } as const;

export interface FoundingNetwork {
  readonly client: Host;
  readonly director: Namespace;
  readonly serverA: Host;
  readonly serverB: Host;
  /** The bridge that joins the director and the real servers: a host without addresses. */
  readonly segment: Namespace;
}

export async function buildFoundingNetwork(laboratory: Laboratory): Promise<FoundingNetwork> {
  const roles = ["client", "director", "server-a", "server-b", "segment"];
  const made = await Promise.all(roles.map((role) => laboratory.namespace(role)));
  const [client, director, serverA, serverB, segment] = made as [
    Namespace,
    Namespace,
    Namespace,
    Namespace,
    Namespace,
  ];

  await segment.ip("link add bridge type bridge stp_state 0 mcast_snooping 0", "link set bridge up");
  await Promise.all([
    laboratory.link({ namespace: client, device: PORT }, { namespace: director, device: OUTSIDE }),
    laboratory.link({ namespace: director, device: INSIDE }, { namespace: segment, device: "director" }),
    laboratory.link({ namespace: serverA, device: PORT }, { namespace: segment, device: "server-a" }),
    laboratory.link({ namespace: serverB, device: PORT }, { namespace: segment, device: "server-b" }),
  ]);
  await segment.ip(...["director", "server-a", "server-b"].map((port) => `link set ${port} master bridge`));

  await Promise.all([
    director.ip(
      ...addresses(OUTSIDE, "202.100.1.1/24", "2001:db8:1::1/64"),
      ...addresses(INSIDE, "172.16.0.1/24", "fd00:16::1/64"),
    ),
    client.ip(
      ...addresses(PORT, `${CLIENT.ipv4}/24`, `${CLIENT.ipv6}/64`),
      ...gateways("202.100.1.1", "2001:db8:1::1"),
    ),
    ...[[serverA, SERVER_A] as const, [serverB, SERVER_B] as const].map(([namespace, { ipv4, ipv6 }]) =>
      namespace.ip(...addresses(PORT, `${ipv4}/24`, `${ipv6}/64`), ...gateways("172.16.0.1", "fd00:16::1")),
    ),
  ]);
  return {
    client: { namespace: client, ...CLIENT },
    director,
    serverA: { namespace: serverA, ...SERVER_A },
    serverB: { namespace: serverB, ...SERVER_B },
    segment,
  };
}

const addresses = (device: string, ipv4: string, ipv6: string): string[] => [
  `address add ${ipv4} dev ${device}`,
  `address add ${ipv6} dev ${device} nodad`,
];

const gateways = (ipv4: string, ipv6: string): string[] => [
  `route add default via ${ipv4}`,
  `route add ::/0 via ${ipv6}`,
];

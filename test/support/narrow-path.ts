/**
 * A real server C behind two routers, for path-MTU discovery: 1500 bytes at both ends, and one link of 1280 between:
 *
 *   director ─near─ router-1 ─far─ router-2 ─1500─ server C (172.18.0.2, fd00:18::2)
 *
 * C itself knows nothing of the narrow link, so its TCP offers full-size segments.
 */
import { type Host, PORT } from "../../src/cli/demo/founding-network.ts";
import type { Founding } from "./founding.ts";

export const NARROW_MTU = 1280;

/** @param narrow - which link is narrow: the director's own, or one that it cannot know of */
export async function addNarrowPath(
  { laboratory, director }: Founding,
  narrow: "near" | "far",
): Promise<Host> {
  const server = await laboratory.namespace("server-c");
  const router1 = await laboratory.namespace("router-1");
  const router2 = await laboratory.namespace("router-2");
  const near = `mtu ${narrow === "near" ? NARROW_MTU : 1500}`;
  const far = `mtu ${narrow === "far" ? NARROW_MTU : 1500}`;
  await laboratory.link({ namespace: director, device: "near" }, { namespace: router1, device: "upper" });
  await laboratory.link({ namespace: router1, device: "lower" }, { namespace: router2, device: "upper" });
  await laboratory.link({ namespace: router2, device: "lower" }, { namespace: server, device: PORT });
  await director.ip(
    `link set near ${near}`,
    "address add 172.17.1.1/30 dev near",
    "address add fd00:17:1::1/64 dev near nodad",
    "route add 172.18.0.0/24 via 172.17.1.2",
    "route add fd00:18::/64 via fd00:17:1::2",
  );
  await router1.ip(
    `link set upper ${near}`,
    `link set lower ${far}`,
    "address add 172.17.1.2/30 dev upper",
    "address add fd00:17:1::2/64 dev upper nodad",
    "address add 172.17.2.1/30 dev lower",
    "address add fd00:17:2::1/64 dev lower nodad",
    "route add 172.18.0.0/24 via 172.17.2.2",
    "route add fd00:18::/64 via fd00:17:2::2",
    "route add default via 172.17.1.1",
    "route add ::/0 via fd00:17:1::1",
  );
  await router2.ip(
    `link set upper ${far}`,
    "address add 172.17.2.2/30 dev upper",
    "address add fd00:17:2::2/64 dev upper nodad",
    "address add 172.18.0.1/24 dev lower",
    "address add fd00:18::1/64 dev lower nodad",
    "route add default via 172.17.2.1",
    "route add ::/0 via fd00:17:2::1",
  );
  await server.ip(
    `address add 172.18.0.2/24 dev ${PORT}`,
    `address add fd00:18::2/64 dev ${PORT} nodad`,
    "route add default via 172.18.0.1",
    "route add ::/0 via fd00:18::1",
  );
  for (const router of [router1, router2]) {
    await router.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 });
  }
  return { namespace: server, ipv4: "172.18.0.2", ipv6: "fd00:18::2" };
}

/**
 * What forwarding a small datagram costs, apart from sockets: frames.ts makes them in the client's namespace and drops them in
 * the server's. In stations of their own, so that a million flows are in nobody's way. Only for directors that forward inside the
 * kernel: the others are bound by the system calls with which they read and write each datagram, which udp-lean measures.
 */
import { CONNECTIONS_MAX } from "./conntrack.ts";
import type { Quantity, Reading } from "./quantities.ts";
import { FIRST_PORT, FRAMES_PROGRAM, SINK_PORT, type Station } from "./station.ts";

export const FORWARD_SERVICES = 1000;
/** For frames.ts to get all flows known, and to end. */
const PATIENCE_MS = 120_000;

export const FORWARD_QUANTITIES: readonly Quantity[] = (
  [
    ["forward", 1, 1, "one flow"],
    ["forward-1k", 1_000, 1, "1,000 flows in turn"],
    ["forward-services", 1_000, FORWARD_SERVICES, "1,000 flows in turn, each of another service"],
    ["forward-100k", 100_000, 1, "100,000 flows in turn"],
    ["forward-1m", 1_000_000, 1, "1,000,000 flows in turn"],
  ] as const
).map(([name, flows, services, title]) => ({
  name,
  title: `Datagrams of 18 bytes, made and dropped by the kernel, ${title}`,
  unit: "packets/s",
  work: "datagram",
  needs: "forwarding",
  measure: (station, target, seconds) => forward(station, target, seconds, flows, services),
}));

/**
 * NAPI at the interface that the frames come in by, as every network card has it; veth has it with GRO alone. And room in
 * connection tracking, where a namespace has a bound of its own (Linux 6.15).
 */
export async function prepareForwarding({ director }: Station): Promise<void> {
  await director.run(["ethtool", "-K", "outside", "gro", "on"]);
  await director.attempt(["sh", "-c", `echo ${CONNECTIONS_MAX} >/proc/sys/net/netfilter/nf_conntrack_max`]);
}

async function forward(
  station: Station,
  target: string,
  seconds: number,
  flows: number,
  services: number,
): Promise<Reading> {
  const mac = (await station.director.run(["cat", "/sys/class/net/outside/address"])).stdout.trim();
  const port = services === 1 ? SINK_PORT : FIRST_PORT;
  const ends = ["eth0", station.server.name, "eth0", mac, target];
  const load = [port, flows, services, seconds].map(String);
  const command = [process.execPath, FRAMES_PROGRAM, ...ends, ...load];
  const { stdout } = await station.client.run(command, { timeoutMs: seconds * 1000 + PATIENCE_MS });
  const [sent = 0, arrived = 0, ns = 0, inAll = 0] = (stdout.match(/\d+/g) ?? []).map(Number);
  return {
    rate: arrived / (ns / 1e9),
    workCount: inAll,
    details: { "lost %": (100 * (sent - arrived)) / sent, "ns each": ns / arrived },
  };
}

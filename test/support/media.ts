/** For system tests of protocols with media: did they arrive, and from where? Needs nft. */
import type { Host } from "../../src/cli/demo/founding-network.ts";
import type { Family } from "./founding.ts";

/** A host outside knows no way to the addresses behind the director, as on the real Internet. */
export const blackholeInside = ({ namespace }: Host): Promise<void> =>
  namespace.ip("route add blackhole 172.16.0.0/24", "route add blackhole fd00:16::/64");

export interface Watched {
  readonly from: string;
  readonly fromPort?: number;
  readonly toPort?: number;
}

let number = 0;

/** UDP packets that reach a host. */
export class PacketCounter {
  readonly #host: Host;
  readonly #table: string;

  private constructor(host: Host, table: string) {
    this.#host = host;
    this.#table = table;
  }

  static async start(
    host: Host,
    family: Family,
    { from, fromPort, toPort }: Watched,
  ): Promise<PacketCounter> {
    const table = `media${++number}`;
    const match = [
      `${family === "ipv4" ? "ip" : "ip6"} saddr ${from} meta l4proto udp`,
      fromPort === undefined ? "" : `udp sport ${fromPort}`,
      toPort === undefined ? "" : `udp dport ${toPort}`,
    ].join(" ");
    const chain = `chain input {\n type filter hook input priority 0\n ${match} counter\n }`;
    await host.namespace.run(["nft", "-f", "-"], { input: `table inet ${table} {\n ${chain}\n }\n` });
    return new PacketCounter(host, table);
  }

  async count(): Promise<number> {
    const { stdout } = await this.#host.namespace.run(["nft", "list", "table", "inet", this.#table]);
    return Number(/packets (\d+)/.exec(stdout)?.[1] ?? Number.NaN);
  }
}

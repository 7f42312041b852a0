/**
 * Random histories for two directors that have to come to the same: connections that begin, go on, end and come again,
 * services and servers that go and return, time that passes, packets that are broken in every way.
 */
import { seconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { bytes, tcp, udp } from "./packet-builder.ts";
import { destination, IPVS_SETTINGS, service } from "./replayed.ts";
import { Twins } from "./twins.ts";

const VIPS = { 4: "202.103.106.5", 6: "2001:db8:5::5" } as const;
const CLIENTS = { 4: ["202.100.1.2", "202.100.1.3"], 6: ["2001:db8:1::2", "2001:db8:1::3"] } as const;
const SERVERS = { 4: ["172.16.0.2", "172.16.0.3"], 6: ["fd00:16::2", "fd00:16::3"] } as const;
const POOLS = { 4: "10.9.0.1", 6: "fd00:9::1" } as const;
const FAR = { 4: "198.51.100.7", 6: "2001:db8:7::7" } as const;
const BEHIND = { 4: "172.16.0.0/24", 6: "fd00:16::/64" } as const;
type Family = 4 | 6;
const end = (address: string, port: number): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

/** Makes a history, step by step. */
export class TwinsPlayer {
  readonly twins: Twins;
  /** Time that has passed, ms. */
  elapsedMs = 0;
  readonly #random: () => number;
  /** Services are such that the kernel may choose for them, mostly. */
  readonly #isChoosing: boolean;
  /** What servers and clients received last, to be answered. */
  readonly #received: { from: string; to: string; isTcp: boolean }[] = [];

  /** @param routedAs - an interface: servers are chosen in the kernel */
  constructor(seed: number, routedAs = 0) {
    this.#random = seededRandom(seed);
    this.#isChoosing = routedAs !== 0;
    const options = { connectionsMax: routedAs === 0 ? 64 : 256, repliesPerSecondMax: 20 };
    this.twins = new Twins([], options, seed + 1, undefined, routedAs);
    this.#configure();
  }

  below(bound: number): number {
    return this.#random() % bound;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  step(): void {
    const choice = this.below(100);
    if (choice < 2) this.#configure();
    else if (choice < 5) {
      const ms = this.of([1, 500, 11_000, 130_000]);
      this.twins.run(ms);
      this.elapsedMs += ms;
    } else this.#packet(choice);
  }

  #packet(choice: number): void {
    const family = this.of([4, 6] as const);
    const isTcp = this.below(3) > 0;
    let ends = {
      from: end(this.of(CLIENTS[family]), 1000 + this.below(this.#isChoosing ? 30 : 3)),
      to: end(VIPS[family], 80),
      isTcp,
    };
    if (choice < 12)
      ends = { from: end(this.of(SERVERS[family]), 1000 + this.below(3)), to: end(FAR[family], 80), isTcp };
    else if (choice < 60 && this.#received.length > 0) {
      const { from, to, isTcp: wasTcp } = this.of(this.#received);
      ends = { from: to, to: from, isTcp: wasTcp };
    }
    const flags = this.of([
      ...(this.#isChoosing ? ["S", "S", "S"] : []),
      "S",
      "A",
      "A",
      "A",
      "PA",
      "SA",
      "FA",
      "RA",
      "R",
      "",
      "SR",
    ]);
    const fields = {
      ...ends,
      payload: bytes(this.of([0, 0, 1, 5, 100])),
      checksum: this.of(["full", "full", "full", "full", "wrong", "none"] as const),
      ttl: this.of([64, 64, 64, 255, 2, 1]),
      tos: this.below(256),
      identification: this.below(0x10000),
      dontFragment: this.below(2) === 0,
    };
    const packet = ends.isTcp
      ? tcp({
          ...fields,
          flags,
          seq: this.#random() >>> 0,
          ack: this.#random() >>> 0,
          window: this.below(0x10000),
        })
      : udp(fields);
    if (this.below(12) === 0) packet[this.below(packet.length)]! ^= 1 << this.below(8);
    const { verdict, bytes: sent } = this.twins.send(packet);
    if (/^to-/.test(verdict)) this.#remember(sent);
  }

  #remember(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset);
    const isIpv4 = packet[0]! >> 4 === 4;
    const protocol = packet[isIpv4 ? 9 : 6]!;
    if (isIpv4 && packet[0] !== 0x45) return;
    if (protocol !== 6 && protocol !== 17) return;
    const portsAt = isIpv4 ? 20 : 40;
    const address = (at: number): string =>
      isIpv4
        ? packet.subarray(at, at + 4).join(".")
        : Array.from({ length: 8 }, (_, i) => view.getUint16(at + i * 2).toString(16)).join(":");
    const [from, to] = isIpv4 ? [address(12), address(16)] : [address(8), address(24)];
    const ends = {
      from: end(from, view.getUint16(portsAt)),
      to: end(to, view.getUint16(portsAt + 2)),
      isTcp: protocol === 6,
    };
    if (this.#received.length < 16) this.#received.push(ends);
    else this.#received[this.below(16)] = ends;
  }

  #configure(): void {
    const flag = (): 0 | 1 => this.of([0, 0, 1]);
    const removal = this.of(["drop", "drain", "reset", "expire", "reschedule"] as const);
    const secure_tcp = this.of([0, 0, 0, 3] as const);
    const ipvs = {
      ...IPVS_DEFAULTS,
      secure_tcp,
      expire_nodest_conn: flag(),
      conn_reuse_mode: this.of([0, 1]),
    };
    const settings = {
      ...IPVS_SETTINGS,
      connectionsMax: this.#isChoosing ? 256 : 64,
      repliesPerSecondMax: 20,
      removal,
      ipvs,
    };
    const masquerade = ([4, 6] as const).flatMap((family) =>
      this.below(4) === 0 ? [] : [{ from: [BEHIND[family]], sources: [POOLS[family]] }],
    );
    this.twins.apply(
      ([4, 6] as const).flatMap((family) =>
        (["tcp", "udp"] as const).flatMap((protocol) =>
          this.below(8) === 0 ? [] : [this.#service(family, protocol)],
        ),
      ),
      { settings, masquerade },
    );
  }

  #service(family: Family, protocol: "tcp" | "udp"): ServiceConfig {
    const has = (): boolean => this.below(this.#isChoosing ? 12 : 3) === 0;
    const servers = SERVERS[family]
      .filter(() => this.below(6) > 0)
      .map((address) =>
        destination(
          address,
          this.of([0, 8000]),
          this.of([0, 1, 2]),
          this.of(this.#isChoosing ? [0, 0, 0, 0, 3] : [0, 0, 3]),
        ),
      );
    return {
      ...service(
        protocol,
        VIPS[family],
        this.of([80, 80, 0]),
        this.of(this.#isChoosing ? ["rr", "wrr", "sh", "dh", "wlc"] : ["rr", "wrr", "lc", "wlc"]),
        ...servers,
      ),
      ...(has() && {
        persistence: { timeout: seconds(300), netmask: family === 4 ? "255.255.255.0" : "64" },
      }),
      ...(has() && { fullNat: { sources: [POOLS[family]], clients: "all" as const } }),
      ...(protocol === "udp" && this.below(8) === 0 && { isOnePacket: true }),
      ...(protocol === "tcp" && this.below(8) === 0 && { proxyProtocol: "v2" as const }),
    };
  }
}

/**
 * The director against Linux IPVS: captures of a real kernel (6.1, one processor) taken on both sides of it, fed packet
 * by packet. What the director sends must be what the kernel sent, byte for byte from the IP header on, in order.
 * Every packet that differs is listed below with the reason.
 */
import { describe, expect, test } from "vitest";
import { seconds } from "../../src/base/environment.ts";
import type { SidedPacket } from "../../src/datapath/replay/two-sided-capture.ts";
import type { DirectorSettings, IpvsSettings, ServiceConfig } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { destination, RecordedRun, readRecording, service, testDirector } from "../support/replayed.ts";

const VIP = "202.103.106.5";
const A = "172.16.0.2";
const B = "172.16.0.3";
const TWO_EQUAL = [destination(A, 80), destination(B, 8000)];

const folder = (name: string) => new URL(`ipvs/${name}`, import.meta.url).pathname;
const record = (name: string) => readRecording(folder(name), [VIP], [A, B]);

/** Differences as lines: `side: made | recorded`. */
function differencesOf(run: RecordedRun): string[] {
  const text = (bytes: Uint8Array | undefined) => (bytes === undefined ? "nothing" : formatPacket(bytes));
  return run.differences().map(({ side, made, recorded }) => `${side}: ${text(made)} | ${text(recorded)}`);
}

const identification = ({ bytes }: SidedPacket) => (bytes[4]! << 8) | bytes[5]!;
const portOf = ({ bytes }: SidedPacket, at: number) => (bytes[at]! << 8) | bytes[at + 1]!;
/** The client's port, whichever way the packet goes. */
const clientPort = (packet: SidedPacket) => portOf(packet, packet.side === "client" ? 20 : 22);
const clientPort6 = (packet: SidedPacket) => portOf(packet, packet.side === "client" ? 40 : 42);
const holds = (text: string) => (packet: SidedPacket) => Buffer.from(packet.bytes).includes(text);

/** Services made anew, so that their schedulers begin at the beginning. */
function renew(run: RecordedRun, ...services: ServiceConfig[]): void {
  run.apply([]);
  run.apply(services);
}

const withSysctl = (ipvs: Partial<IpvsSettings>): Partial<DirectorSettings> => ({
  ipvs: { ...IPVS_DEFAULTS, ...ipvs },
});

/** Destinations of the last service as ipvsadm lists them: active and inactive connections. */
function loads(run: RecordedRun): string[] {
  const { destinations } = run.control.status().services.at(-1)!;
  return destinations.map(
    ({ address, activeConnections, inactiveConnections }) =>
      `${address} ${activeConnections}+${inactiveConnections}`,
  );
}

/** Conns, InPkts, OutPkts, InBytes, OutBytes of the last service and its destinations. */
function counters(run: RecordedRun): number[][] {
  const { counters, destinations } = run.control.status().services.at(-1)!;
  return [counters, ...destinations.map((one) => one.counters)].map((one) => Object.values(one));
}

const EDGE = [
  /** A host without any service: IPVS leaves the path altogether, so the client's segments meet the host (resets) and the
   * server's leave as they came. vsnat keeps to its policy for removed servers (here `drop`) while connections live. */
  "client: 202.103.106.5:80 > 202.100.1.2:7031 tcp PA seq 700001 ack 1012 win 64240 len 3 ttl 63 | 202.103.106.5:80 > 202.100.1.2:7031 tcp R seq 700001 win 0 len 0 ttl 64",
  "client: nothing | 172.16.0.2:80 > 202.100.1.2:7031 tcp PA seq 700001 ack 1012 win 64240 len 3 ttl 63",
  "client: nothing | 202.103.106.5:80 > 202.100.1.2:7031 tcp RA seq 0 ack 1 win 0 len 0 ttl 64",
  /** The director itself as a destination (127.0.0.1, its own address): vsnat's configuration refuses it, and with no service
   * left the virtual address is no longer its own, so the packets pass. */
  "client: 202.100.1.2:7056 > 202.103.106.5:80 tcp S seq 0 win 64240 len 0 <mss 1460> ttl 63 | 202.103.106.5:80 > 202.100.1.2:7056 tcp RA seq 0 ack 1 win 0 len 0 ttl 64",
  "client: 202.100.1.2:7057 > 202.103.106.5:80 tcp S seq 0 win 64240 len 0 <mss 1460> ttl 63 | nothing",
];

describe("recordings of Linux IPVS", () => {
  test("founding: the VS/NAT example, thirteen HTTP connections, wrr 1:2", () => {
    const run = new RecordedRun(
      record("founding"),
      testDirector([
        service("tcp", VIP, 21, "wrr", destination(B, 21)),
        service("tcp", VIP, 80, "wrr", destination(A, 80, 1), destination(B, 8000, 2)),
      ]),
    );
    run.run((next) => clientPort(next) === 3956);
    expect(loads(run)).toEqual([`${B} 0+8`, `${A} 0+4`]);
    run.run();
    expect(loads(run)).toEqual([`${B} 0+9`, `${A} 0+4`]);
    expect(counters(run)).toEqual([
      [13, 77, 53, 5074, 4360],
      [9, 53, 37, 3481, 3040],
      [4, 24, 16, 1593, 1320],
    ]);
    expect(run.recorded).toHaveLength(130);
    expect(differencesOf(run)).toEqual([]);
  });

  test("states: named TCP sequences, the service made anew before each", () => {
    const run = new RecordedRun(record("states"), testDirector([]));
    const anew = service("tcp", VIP, 80, "rr", destination(A, 80, 1), destination(B, 8000, 2));
    for (let port = 20_000; port <= 20_022; port++) {
      renew(run, anew);
      run.run((next) => clientPort(next) > port);
    }
    expect(run.recorded).toHaveLength(113);
    expect(differencesOf(run)).toEqual([]);
  });

  test("udp: flows, a zero checksum, one-packet scheduling, fragments", () => {
    const run = new RecordedRun(record("udp"), testDirector([]));
    const dns = service("udp", VIP, 53, "rr", destination(A, 53), destination(B, 5353));
    renew(run, dns);
    run.run(holds("again"));
    expect(loads(run)).toEqual([`${B} 0+2`, `${A} 0+1`]);
    expect(counters(run)).toEqual([
      [3, 3, 3, 114, 108],
      [2, 2, 2, 76, 72],
      [1, 1, 1, 38, 36],
    ]);
    run.run((next) => identification(next) === 4106);
    renew(run, { ...dns, isOnePacket: true });
    run.run((next) => identification(next) > 4106 && holds("again")(next));
    expect(loads(run)).toEqual([`${B} 0+0`, `${A} 0+0`]);
    expect(counters(run)).toEqual([
      [3, 3, 0, 114, 0],
      [2, 2, 0, 76, 0],
      [1, 1, 0, 38, 0],
    ]);
    run.run((next) => identification(next) === 16_962);
    renew(run, dns);
    run.run();
    expect(counters(run)[0]).toEqual([1, 1, 0, 3100, 0]);
    expect(run.recorded).toHaveLength(21);
    expect(differencesOf(run)).toEqual([]);
  });

  test("icmp: errors from both sides, MTU, TTL, answers without an entry", () => {
    const services = [
      service("udp", VIP, 53, "rr", destination(A, 5353)),
      service("tcp", VIP, 80, "rr", destination(A, 5353)),
    ];
    const director = testDirector(services);
    director.ownAddress[4] = parseAddress("172.16.0.1")!.words;
    const run = new RecordedRun(record("icmp"), director);
    run.run((next) => identification(next) === 4115);
    run.control.setMtu(A, 1200); // the server-side interface
    run.run((next) => identification(next) === 4117);
    run.control.setMtu(A, 0);
    director.clientMtuBytes = 1200; // the client-side interface
    run.run((next) => identification(next) === 4118);
    director.clientMtuBytes = 0;
    // The first segment of a real server's own goes its way; then the recording turns to nat_icmp_send=1.
    let strayCount = 0;
    run.run((next) => portOf(next, 22) === 4242 && ++strayCount === 2);
    run.apply(services, withSysctl({ nat_icmp_send: 1 }));
    run.run();
    expect(run.recorded).toHaveLength(27);
    expect(differencesOf(run)).toEqual([]);
  });

  test("ipv6: wrr, errors, MTU, a UDP service", () => {
    const vip6 = "2001:db8:5::5";
    const a6 = "fd00:16::2";
    const web = service("tcp", vip6, 80, "wrr", destination(a6, 80, 1), destination("fd00:16::3", 8000, 2));
    const dns = service("udp", vip6, 53, "rr", destination(a6, 5353));
    const nobody = service("tcp", vip6, 9, "rr");
    const run = new RecordedRun(
      readRecording(folder("ipv6"), [vip6], [a6, "fd00:16::3"]),
      testDirector([web]),
    );
    // 1300 bytes of "q" from the client arrive twice; before the second time the server-side MTU became 1280.
    let bigCount = 0;
    run.run((next) => clientPort6(next) === 999);
    expect(loads(run)).toEqual(["fd00:16::3 4+2", "fd00:16::2 1+2"]);
    run.run((next) => next.side === "client" && next.bytes.length > 1300 && ++bigCount === 2);
    run.control.setMtu("fd00:16::3", 1280);
    run.run((next) => next.bytes[6] === 17);
    run.apply([web, dns, nobody]);
    run.run();
    expect(run.recorded).toHaveLength(67);
    expect(differencesOf(run)).toEqual([]);
  });

  test("edge: no service, no destination, weight 0, removal, thresholds, hairpin", () => {
    // A service nobody uses keeps the virtual address the director's own where the recording has none on it.
    const idle = service("tcp", VIP, 1, "rr");
    const web = service("tcp", VIP, 80, "rr", ...TWO_EQUAL);
    const run = new RecordedRun(record("edge"), testDirector([idle]));
    const until = (port: number) => run.run((next) => clientPort(next) >= port);

    until(7003);
    renew(run, idle, web);
    until(7011);
    run.apply([idle, web], withSysctl({ sloppy_tcp: 1 }));
    until(7013);
    renew(run, service("tcp", VIP, 80, "rr"), service("udp", VIP, 80, "rr"));
    for (let port = 7016; port <= 7030; port++) {
      until(port);
      renew(run, service("tcp", VIP, 80, "rr", destination(A, 80, 0), destination(B, 8000, 0)));
    }
    renew(run, idle, web);
    run.run(holds("still"));
    run.apply([idle, service("tcp", VIP, 80, "rr", destination(A, 80), destination(B, 8000, 0))]);
    run.run(holds("gone?"));
    expect(loads(run)).toEqual([`${B} 2+0`, `${A} 5+0`]);
    run.apply([idle, service("tcp", VIP, 80, "rr", destination(A, 80))]);
    run.run(holds("back"));
    run.apply([idle, service("tcp", VIP, 80, "rr", destination(A, 80), destination(B, 8000, 5))]);
    expect(loads(run)).toEqual([`${B} 2+0`, `${A} 5+0`]);
    expect(counters(run)).toEqual([
      [7, 12, 4, 513, 176],
      [2, 5, 2, 213, 88],
      [5, 7, 2, 300, 88],
    ]);
    run.run(holds("gone"));
    const expiring = withSysctl({ expire_nodest_conn: 1 });
    run.apply([idle, service("tcp", VIP, 80, "rr", destination(A, 80))], expiring);
    run.run(holds("still there"));
    renew(run, idle);
    let stillThereCount = 0;
    run.run((next) => holds("still there")(next) && ++stillThereCount === 2);
    run.apply([idle, web]);
    run.run((next) => clientPort(next) === 7037);
    expect(loads(run)).toEqual([`${B} 0+0`, `${A} 5+0`]);
    const limited = [destination(A, 80, 1, 3, 2), destination(B, 8000, 1, 3, 2)];
    renew(run, idle, service("tcp", VIP, 80, "rr", ...limited));
    until(7045);
    expect(loads(run)).toEqual([`${B} 3+0`, `${A} 2+1`]);
    until(7046);
    expect(loads(run)).toEqual([`${B} 3+0`, `${A} 1+2`]);
    until(7047);
    expect(loads(run)).toEqual([`${B} 3+0`, `${A} 0+3`]);
    until(7051);
    expect(loads(run)).toEqual([`${B} 3+0`, `${A} 3+0`]);
    const anyPort = service("tcp", VIP, 0, "rr", destination(A, 0), destination(B, 0));
    renew(run, { ...anyPort, persistence: { timeout: seconds(100) } });
    run.run((next) => next.side === "server");
    expect(loads(run)).toEqual([`${B} 3+0`, `${A} 0+0`]);
    renew(run, web);
    until(7056);
    run.apply([]);
    run.run();
    expect(differencesOf(run).sort()).toEqual([...EDGE].sort());
  });
});

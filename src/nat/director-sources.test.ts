/** Connections under addresses of the director's own: FullNAT towards servers, masquerade towards the outside. */
import { afterEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, echo, icmp, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import {
  checkPacket,
  from,
  icmpRest,
  icmpType,
  payload,
  quoting,
  tcpFlags,
  to,
  ttl,
  valid,
  validPartial,
} from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { expectBytes } from "../../test/support/same-bytes.ts";
import { Stage, type StageOptions } from "../../test/support/stage.ts";
import { parseAddress } from "../wire/address.ts";
import { Gso } from "../wire/packet.ts";
import type { MasqueradeRule, ServiceConfig, ServiceProtocol } from "./configuration.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";

interface Place {
  readonly family: 4 | 6;
  readonly client: string;
  readonly vip: string;
  readonly server: string;
  readonly pool: string;
  readonly behind: string;
  readonly far: string;
  readonly router: string;
  readonly at: (address: string, port: number) => string;
}
const V4: Place = {
  family: 4,
  client: "202.100.1.2",
  vip: "202.103.106.5",
  server: "172.16.0.3",
  pool: "10.9.0.1",
  behind: "172.16.0.0/24",
  far: "198.51.100.7",
  router: "192.0.2.254",
  at: (address, port) => `${address}:${port}`,
};
const V6: Place = {
  family: 6,
  client: "2001:db8:1::2",
  vip: "2001:db8:5::5",
  server: "fd00:16::3",
  pool: "fd00:9::1",
  behind: "fd00:16::/64",
  far: "2001:db8:7::7",
  router: "2001:db8:2::fe",
  at: (address, port) => `[${address}]:${port}`,
};
const PLACES: [string, Place][] = [
  ["IPv4", V4],
  ["IPv6", V6],
];
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;

const stages: Stage[] = [];
afterEach(() => {
  for (const { director } of stages.splice(0)) expect(census(director)).toEqual([]);
});

function begin(
  services: readonly ServiceConfig[],
  masquerade: readonly MasqueradeRule[],
  options: StageOptions = {},
) {
  const stage = new Stage([], options);
  stage.apply(services, { masquerade });
  stages.push(stage);
  return stage;
}

const fullNat = ({ vip, server, pool }: Place, clients: "all" | "servers" = "all"): ServiceConfig[] =>
  PROTOCOLS.map((protocol) => ({
    ...service(protocol, vip, 80, "rr", destination(server, 8000)),
    fullNat: { sources: [pool], clients },
  }));
const masqueraded = ({ behind, pool }: Place): MasqueradeRule[] => [{ from: [behind], sources: [pool] }];

function packet(protocol: ServiceProtocol, source: string, target: string): Uint8Array {
  const fields = { from: source, to: target, identification: 77 };
  if (protocol === "tcp") return tcp({ ...fields, flags: "S", payload: bytes(33) });
  return protocol === "udp" ? udp({ ...fields, payload: bytes(33) }) : sctp(fields);
}

/** The same packet as seen on another leg: checksums of the leg it was quoted from stay in the quotation. */
function quotation(seen: Uint8Array, wanted: Uint8Array): Uint8Array {
  const isIpv4 = seen[0]! >> 4 === 4;
  const protocol = seen[isIpv4 ? 9 : 6]!;
  const at = isIpv4 ? 20 : 40;
  const copy = wanted.slice();
  if (protocol === 6) copy.set(seen.subarray(at + 16, at + 18), at + 16);
  if (protocol === 17) copy.set(seen.subarray(at + 6, at + 8), at + 6);
  if (protocol === 132) copy.set(seen.subarray(at + 8, at + 12), at + 8);
  return copy;
}

describe.each(PLACES)("%s", (_name, place) => {
  const { family, client, vip, server, pool, far, router, at } = place;
  const unreachable = family === 4 ? 3 : 1;

  describe.each(PROTOCOLS)("%s", (protocol) => {
    test("FullNAT: the server sees the pool, the client the virtual address", () => {
      const stage = begin(fullNat(place), []);
      const asked = stage.send(packet(protocol, at(client, 4000), at(vip, 80)));
      expect(asked.verdict).toBe("to-server");
      checkPacket(asked.bytes, valid(), from(at(pool, 4000)), to(at(server, 8000)), ttl(63));
      const answered = stage.send(packet(protocol, at(server, 8000), at(pool, 4000)));
      expect(answered.verdict).toBe("to-client");
      checkPacket(answered.bytes, valid(), from(at(vip, 80)), to(at(client, 4000)), ttl(63));
    });

    test("masquerade: the far end sees the pool, the host behind sees the far end", () => {
      const stage = begin([], masqueraded(place));
      const asked = stage.send(packet(protocol, at(server, 4000), at(far, 443)));
      expect(asked.verdict).toBe("to-server");
      checkPacket(asked.bytes, valid(), from(at(pool, 4000)), to(at(far, 443)), ttl(63));
      const answered = stage.send(packet(protocol, at(far, 443), at(pool, 4000)));
      expect(answered.verdict).toBe("to-client");
      checkPacket(answered.bytes, valid(), from(at(far, 443)), to(at(server, 4000)), ttl(63));
    });

    test("an error about what FullNAT sent to the server shows the client its own packet", () => {
      const stage = begin(fullNat(place), []);
      const own = packet(protocol, at(client, 4000), at(vip, 80));
      const seen = stage.send(own).bytes;
      const sent = stage.send(icmp({ from: router, to: pool, type: unreachable, code: 1, payload: seen }));
      expect(sent.verdict).toBe("to-client");
      const wanted = quotation(seen, asReceived(own));
      checkPacket(sent.bytes, valid(), from(vip), to(client), icmpType(unreachable, 1), payload(wanted));
    });

    test("an error about what went to the client shows the server the pool", () => {
      const stage = begin(fullNat(place), []);
      stage.send(packet(protocol, at(client, 4000), at(vip, 80)));
      const own = packet(protocol, at(server, 8000), at(pool, 4000));
      const seen = stage.send(own).bytes;
      const sent = stage.send(icmp({ from: router, to: vip, type: unreachable, code: 1, payload: seen }));
      expect(sent.verdict).toBe("to-server");
      const wanted = quotation(seen, asReceived(own));
      // A router's address would be one the server has no way to; the pool's is the peer it knows.
      checkPacket(sent.bytes, valid(), from(pool), to(server), icmpType(unreachable, 1), payload(wanted));
    });

    test("an error about what was masqueraded comes from whom it came, and shows the host its own packet", () => {
      const stage = begin([], masqueraded(place));
      const own = packet(protocol, at(server, 4000), at(far, 443));
      const seen = stage.send(own).bytes;
      const sent = stage.send(icmp({ from: router, to: pool, type: unreachable, code: 1, payload: seen }));
      expect(sent.verdict).toBe("to-client");
      const wanted = quotation(seen, asReceived(own));
      checkPacket(sent.bytes, valid(), from(router), to(server), icmpType(unreachable, 1), payload(wanted));
    });

    test("an error of the host behind about the far end's packet leaves in the pool's name", () => {
      const stage = begin([], masqueraded(place));
      stage.send(packet(protocol, at(server, 4000), at(far, 443)));
      const own = packet(protocol, at(far, 443), at(pool, 4000));
      const seen = stage.send(own).bytes;
      const sent = stage.send(icmp({ from: server, to: far, type: unreachable, code: 1, payload: seen }));
      expect(sent.verdict).toBe("to-server");
      const wanted = quotation(seen, asReceived(own));
      checkPacket(sent.bytes, valid(), from(pool), to(far), icmpType(unreachable, 1), payload(wanted));
    });
  });

  test("hairpin: a server that is a client of its own service comes from the pool, others as themselves", () => {
    const stage = begin(fullNat(place, "servers"), []);
    const other = stage.send(packet("tcp", at(client, 4000), at(vip, 80)));
    checkPacket(other.bytes, valid(), from(at(client, 4000)), to(at(server, 8000)));
    const own = stage.send(packet("tcp", at(server, 4000), at(vip, 80)));
    checkPacket(own.bytes, valid(), from(at(pool, 4000)), to(at(server, 8000)));
    const back = stage.send(packet("tcp", at(server, 8000), at(pool, 4000)));
    checkPacket(back.bytes, valid(), from(at(vip, 80)), to(at(server, 4000)));
  });

  describe("checksums of full NAT", () => {
    test.each(["tcp", "udp"] as const)("%s: a partial one follows both addresses", (protocol) => {
      const build = protocol === "tcp" ? tcp : udp;
      const stage = begin(fullNat(place), []);
      const fields = { from: at(client, 4000), to: at(vip, 80), checksum: "partial" as const, flags: "S" };
      const asked = stage.send(build({ ...fields, payload: bytes(100) }), { isChecksumPartial: true });
      checkPacket(asked.bytes, validPartial(), from(at(pool, 4000)), to(at(server, 8000)));
      const reply = { from: at(server, 8000), to: at(pool, 4000), checksum: "partial" as const };
      const answered = stage.send(build({ ...reply, payload: bytes(101) }), { isChecksumPartial: true });
      checkPacket(answered.bytes, validPartial(), from(at(vip, 80)), to(at(client, 4000)));
    });

    test("UDP without one gets one; what comes out as zero is sent as 0xffff", () => {
      const stage = begin(fullNat(place), []);
      const none = udp({ from: at(client, 4000), to: at(vip, 80), checksum: "none", payload: bytes(7) });
      checkPacket(stage.send(none).bytes, valid(), from(at(pool, 4000)));
      const zero = Array.from({ length: 65_536 }, (_, i) => i).find((word) => {
        const data = Uint8Array.of(word >> 8, word & 255);
        const sum = udp({ from: at(pool, 4000), to: at(server, 8000), payload: data });
        const checksumAt = (family === 4 ? 20 : 40) + 6;
        return sum[checksumAt] === 255 && sum[checksumAt + 1] === 255;
      })!;
      const data = Uint8Array.of(zero >> 8, zero & 255);
      const sent = stage.send(udp({ from: at(client, 4000), to: at(vip, 80), payload: data }));
      checkPacket(sent.bytes, valid());
    });

    test("a super-packet goes through in one piece, and keeps what it is", () => {
      const stage = begin(fullNat(place), []);
      stage.send(packet("tcp", at(client, 4000), at(vip, 80)));
      const large = tcp({
        from: at(client, 4000),
        to: at(vip, 80),
        checksum: "partial",
        payload: bytes(60_000),
      });
      const gso = family === 4 ? Gso.tcp4 : Gso.tcp6;
      const sent = stage.send(large, { isChecksumPartial: true, gso, gsoBytes: 1448 });
      expect(sent.out).toHaveLength(1);
      checkPacket(sent.bytes, validPartial(), from(at(pool, 4000)), payload(bytes(60_000)));
      expect(stage.packet).toMatchObject({ gso, gsoBytes: 1448, isChecksumPartial: true });
    });

    test("a wrong one stays wrong", () => {
      const stage = begin(fullNat(place), []);
      const wrong = tcp({ from: at(client, 4000), to: at(vip, 80), flags: "S", checksum: "wrong" });
      expect(() => checkPacket(stage.send(wrong).bytes, valid())).toThrow(/checksum/);
    });
  });

  describe("masqueraded echo", () => {
    const ask = (host: string, id: number) => echo({ from: host, to: far, id, seq: 9, payload: bytes(48) });
    const other = server.replace(/3$/, "4");

    test("there and back, the identifier kept where it is free", () => {
      const stage = begin([], masqueraded(place));
      const asked = stage.send(ask(server, 4000));
      expect(asked.verdict).toBe("to-server");
      checkPacket(asked.bytes, valid(), from(pool), to(far), ttl(63), icmpRest((4000 << 16) | 9));
      const answered = stage.send(
        echo({ from: far, to: pool, id: 4000, seq: 9, isReply: true, payload: bytes(48) }),
      );
      expect(answered.verdict).toBe("to-client");
      checkPacket(
        answered.bytes,
        valid(),
        from(far),
        to(server),
        icmpRest((4000 << 16) | 9),
        payload(bytes(48)),
      );
    });

    test("two hosts with one identifier are told apart, and each gets its own back", () => {
      const stage = begin([], masqueraded(place));
      const ids = [server, other].map((host) => identifierOf(stage.send(ask(host, 4000)).bytes));
      expect(new Set(ids).size).toBe(2);
      for (const [index, id] of ids.entries()) {
        const answer = stage.send(echo({ from: far, to: pool, id, seq: 9, isReply: true }));
        checkPacket(answer.bytes, valid(), to([server, other][index]!), icmpRest((4000 << 16) | 9));
      }
    });

    test("an identifier of 0 is one like any other, and a reply that has it begins nothing", () => {
      const stage = begin([], masqueraded(place));
      const asked = stage.send(ask(server, 0));
      const id = identifierOf(asked.bytes);
      expect(id).toBeGreaterThanOrEqual(1024);
      const answered = stage.send(echo({ from: far, to: pool, id, seq: 9, isReply: true }));
      checkPacket(answered.bytes, valid(), to(server), icmpRest(9));
      // A host behind answers someone who reaches it without the director's help.
      const reply = stage.send(echo({ from: other, to: far, id: 0, isReply: true }));
      expect(reply.verdict).toBe("pass");
      checkPacket(reply.bytes, valid(), from(other));
      expect(stage.connections()).toHaveLength(1);
    });

    test("lives 30 s after its last packet, one tick more and it is over", () => {
      for (const [ms, verdict] of [
        [29_990, "to-client"],
        [30_000, "drop unknown-protocol"],
      ] as const) {
        const stage = begin([], masqueraded(place));
        stage.send(ask(server, 4000));
        stage.wait(ms);
        expect(stage.send(echo({ from: far, to: pool, id: 4000, isReply: true })).verdict).toBe(verdict);
      }
    });

    test("an error about it shows the host its own request", () => {
      const stage = begin([], masqueraded(place));
      stage.send(ask(other, 4000));
      const seen = stage.send(ask(server, 4000)).bytes;
      expect(identifierOf(seen)).not.toBe(4000);
      const timeExceeded = family === 4 ? 11 : 3;
      const sent = stage.send(icmp({ from: router, to: pool, type: timeExceeded, payload: seen }));
      expect(sent.verdict).toBe("to-client");
      checkPacket(sent.bytes, valid(), from(router), to(server), icmpType(timeExceeded, 0));
      checkPacket(sent.bytes, quoting(from(server), to(far)));
      const quotedAt = family === 4 ? 28 : 48;
      expect(identifierOf(sent.bytes.subarray(quotedAt))).toBe(4000);
    });

    test("goes on when its rule ends, and no new one begins", () => {
      const stage = begin([], masqueraded(place));
      stage.send(ask(server, 4000));
      stage.apply([]);
      const answered = stage.send(echo({ from: far, to: pool, id: 4000, isReply: true }));
      expect(answered.verdict).toBe("to-client");
      expect(stage.send(ask(server, 4000)).verdict).toBe("to-server");
      expect(stage.send(ask(server, 4001)).verdict).toBe("pass");
    });
  });
});

/** One hop further. */
function asReceived(own: Uint8Array): Uint8Array {
  const copy = own.slice();
  if (own[0]! >> 4 === 6) {
    copy[7]!--;
    return copy;
  }
  copy[8]!--;
  const sum = ((copy[10]! << 8) | copy[11]!) + 0x100;
  const folded = (sum & 0xffff) + (sum >> 16);
  copy[10] = folded >> 8;
  copy[11] = folded & 255;
  return copy;
}

function identifierOf(message: Uint8Array): number {
  const at = (message[0]! >> 4 === 4 ? 20 : 40) + 4;
  return (message[at]! << 8) | message[at + 1]!;
}

describe("masquerade", () => {
  const { server, far, pool } = V4;
  const out = (port: number, host = server, target = `${far}:443`) =>
    tcp({ from: `${host}:${port}`, to: target, flags: "S" });

  test.each(["A", "F", "PA", "SA", "SFA"])(
    "a segment with flags %s begins no connection and is reset",
    (flags) => {
      const stage = begin([], masqueraded(V4));
      const sent = stage.send(tcp({ from: `${server}:4000`, to: `${far}:443`, flags }));
      expect(sent.verdict).toBe("reply");
      checkPacket(sent.bytes, valid(), from(`${far}:443`), to(`${server}:4000`));
      expect(stage.connections()).toEqual([]);
    },
  );

  test.each(["R", "RA", "SR"])("a segment with flags %s is not even answered", (flags) => {
    const stage = begin([], masqueraded(V4));
    expect(stage.send(tcp({ from: `${server}:4000`, to: `${far}:443`, flags })).verdict).toBe(
      "drop no-service",
    );
    expect(stage.connections()).toEqual([]);
  });

  test("the first rule that fits counts, by whose and where to", () => {
    const stage = begin(
      [],
      [
        { from: ["172.16.0.3", "172.16.0.4"], to: "198.51.100.0/24", sources: ["10.9.0.1"] },
        { from: ["172.16.0.4/31"], sources: ["10.9.0.2"] },
      ],
    );
    const cases = [
      ["172.16.0.3", "198.51.100.1:443", "10.9.0.1"],
      ["172.16.0.4", "198.51.100.1:443", "10.9.0.1"],
      ["172.16.0.5", "198.51.100.1:443", "10.9.0.2"],
      ["172.16.0.4", "198.51.101.1:443", "10.9.0.2"],
      ["172.16.0.3", "198.51.101.1:443", undefined],
      ["172.16.0.6", "198.51.100.1:443", undefined],
    ] as const;
    for (const [index, [host, target, source]] of cases.entries()) {
      const sent = stage.send(out(4000 + index, host, target));
      expect(sent.verdict).toBe(source === undefined ? "pass" : "to-server");
      checkPacket(sent.bytes, valid(), from(`${source ?? host}:${4000 + index}`));
    }
    const counts = stage.control.status().masquerade.map(({ connections }) => connections);
    expect(counts).toEqual([2, 2]);
  });

  test("ports are of the rule's range, those of services never, and no more than there are", () => {
    const ports = { first: 2000, last: 2009 };
    const reserved = { ...service("tcp", V4.vip, 2000, "rr", destination("172.16.0.9", 80)), lastPort: 2006 };
    const stage = begin([reserved], [{ from: [V4.behind], sources: [V4.vip], ports }]);
    const sent = [4000, 4001, 4002, 4003].map((port) => stage.send(out(port)));
    expect(sent.map(({ verdict }) => verdict)).toEqual([
      "to-server",
      "to-server",
      "to-server",
      "drop tuple-exhausted",
    ]);
    const used = stage.connections().map(({ source }) => source?.port);
    expect(used.toSorted()).toEqual([2007, 2008, 2009]);
    expect(stage.count("tuple-exhausted")).toBe(1);
    // To another far end the same ports are free, and here they are when the connections have ended.
    expect(stage.send(out(4003, server, `${far}:444`)).verdict).toBe("to-server");
    stage.run(70_000);
    expect(stage.connections()).toEqual([]);
    expect(stage.send(out(4003)).verdict).toBe("to-server");
    // UDP has no service there.
    const question = udp({ from: `${server}:2003`, to: `${far}:53` });
    checkPacket(stage.send(question).bytes, valid(), from(`${V4.vip}:2003`));
  });

  test("a rule that changes takes its pool along, and connections keep the address they have", () => {
    const stage = begin([], masqueraded(V4));
    stage.send(out(4000));
    stage.apply([], { masquerade: [{ from: [V4.behind], sources: ["10.9.0.2"] }] });
    expect(stage.director.sources.texts.toSorted()).toEqual(["10.9.0.1", "10.9.0.2"]);
    checkPacket(stage.send(out(4001)).bytes, from("10.9.0.2:4001"));
    const back = stage.send(tcp({ from: `${far}:443`, to: `${pool}:4000`, flags: "SA" }));
    checkPacket(back.bytes, valid(), to(`${server}:4000`));
    stage.run(1_000_000);
    expect(stage.director.sources.texts).toEqual(["10.9.0.2"]);
    stage.apply([]);
    expect(stage.director.sources.texts).toEqual([]);
    expect([...stage.director.services.destinations()]).toEqual([]);
  });

  test("of the same rule twice, both are let go of", () => {
    const stage = begin([], [...masqueraded(V4), ...masqueraded(V4)]);
    stage.apply([], { masquerade: masqueraded(V4) });
    stage.apply([]);
    expect(stage.director.sources.texts).toEqual([]);
    expect([...stage.director.services.destinations()]).toEqual([]);
    // The pool is no address of the director's any more.
    expect(stage.send(tcp({ from: `${V4.client}:4000`, to: `${pool}:80`, flags: "S" })).verdict).toBe("pass");
  });

  test("one hop left, or too large: the host is told in the director's own name", () => {
    const stage = begin([], masqueraded(V4));
    stage.director.ownAddress[4] = parseAddress("172.16.0.1")!.words;
    const last = stage.send(tcp({ from: `${server}:4000`, to: `${far}:443`, flags: "S", ttl: 1 }));
    checkPacket(last.bytes, valid(), from("172.16.0.1"), to(server), icmpType(11, 0));
    stage.director.clientMtuBytes = 1000;
    const large = udp({ from: `${server}:4000`, to: `${far}:443`, payload: bytes(1200), dontFragment: true });
    const tooBig = stage.send(large);
    checkPacket(tooBig.bytes, valid(), from("172.16.0.1"), icmpType(3, 4), icmpRest(1000));
    checkPacket(tooBig.bytes, quoting(from(`${server}:4000`), to(`${far}:443`)));
  });

  test("to a virtual address a host behind is a client like any other", () => {
    const web = service("tcp", V4.vip, 80, "rr", destination("172.16.0.9", 80));
    const stage = begin([web], masqueraded(V4));
    const sent = stage.send(out(4000, server, `${V4.vip}:80`));
    checkPacket(sent.bytes, valid(), from(`${server}:4000`), to("172.16.0.9:80"));
  });
});

describe("addresses of the director's own", () => {
  const web: ServiceConfig = {
    ...service("tcp", V4.vip, 80, "rr", destination(V4.server, 8000)),
    fullNat: { sources: [V4.pool], clients: "all" },
  };

  test("are nobody's clients and serve nothing, so that nothing goes round in circles", () => {
    const stage = begin([web], []);
    const fromPool = tcp({ from: `${V4.pool}:4000`, to: `${V4.vip}:80`, flags: "S" });
    expect(stage.send(fromPool).verdict).toBe("drop martian");
    const toPool = stage.send(tcp({ from: `${V4.client}:4000`, to: `${V4.pool}:80`, flags: "S" }));
    expect(toPool.verdict).toBe("reply");
    checkPacket(toPool.bytes, valid(), from(`${V4.pool}:80`), tcpFlags("RA"));
  });

  test("answer echo, also while something is masqueraded through them", () => {
    const stage = begin([web], masqueraded(V4));
    stage.send(echo({ from: V4.server, to: V4.client, id: 4000 }));
    const sent = stage.send(echo({ from: V4.client, to: V4.pool, id: 4000, payload: bytes(8) }));
    expect(sent.verdict).toBe("reply");
    expectBytes(sent.bytes.subarray(28), bytes(8));
  });

  test("with a mark rule over them: new connections are the mark service's, answers are their connections'", () => {
    const marked: ServiceConfig = {
      ...service("tcp", "0.0.0.0", 0, "rr", destination("172.16.0.9", 0)),
      protocol: "fwmark",
      mark: 7,
    };
    const stage = begin([], []);
    const marks = [{ mark: 7, destination: "10.9.0.0/24" }];
    stage.apply([marked], { marks, masquerade: masqueraded(V4) });
    stage.send(tcp({ from: `${V4.server}:4000`, to: `${V4.far}:443`, flags: "S" }));
    const answer = stage.send(tcp({ from: `${V4.far}:443`, to: `${V4.pool}:4000`, flags: "SA" }));
    checkPacket(answer.bytes, valid(), to(`${V4.server}:4000`));
    const fresh = stage.send(tcp({ from: `${V4.far}:443`, to: `${V4.pool}:4001`, flags: "S" }));
    checkPacket(fresh.bytes, valid(), to("172.16.0.9:4001"));
  });

  test("a whole pool of 1024 can be exchanged for another while its connections live, again and again", () => {
    const pool = (net: number): string[] =>
      Array.from({ length: 1024 }, (_, n) => `10.${net}.${n >> 8}.${n & 255}`);
    const withPool = (net: number): ServiceConfig[] => [
      { ...web, fullNat: { sources: pool(net), clients: "all" } },
    ];
    const stage = begin(withPool(0), [], { connectionsMax: 8192 });
    for (let net = 1; net < 4; net++) {
      for (let port = 0; port < 1024; port++)
        stage.send(tcp({ from: `202.100.1.${net}:${5000 + port}`, to: `${V4.vip}:80`, flags: "S" }));
      stage.apply(withPool(net));
    }
    expect(stage.connections()).toHaveLength(3 * 1024);
    stage.run(100_000);
    expect(stage.director.sources.texts.toSorted()).toEqual(pool(3).toSorted());
  });

  test("a service that stops FullNAT leaves its connections theirs, and they the address", () => {
    const stage = begin([web], []);
    const ask = tcp({ from: `${V4.client}:4000`, to: `${V4.vip}:80`, flags: "S" });
    stage.send(ask);
    const { fullNat: _, ...plain } = web;
    stage.apply([plain]);
    checkPacket(stage.send(ask).bytes, valid(), from(`${V4.pool}:4000`));
    const other = stage.send(tcp({ from: `${V4.client}:4001`, to: `${V4.vip}:80`, flags: "S" }));
    checkPacket(other.bytes, valid(), from(`${V4.client}:4001`));
    expect(stage.director.sources.texts).toEqual([V4.pool]);
    stage.run(1_000_000);
    expect(stage.director.sources.texts).toEqual([]);
  });
});

describe("schedule_icmp", () => {
  const ipvs = { ...IPVS_DEFAULTS, schedule_icmp: 1 } as const;
  const about = (source: string, target: string) =>
    icmp({ from: V4.router, to: V4.vip, type: 3, code: 1, payload: packet("udp", source, target) });

  test("an error about a connection nobody knows begins it, for 3 s", () => {
    const stage = begin(fullNat(V4), [], { ipvs });
    const sent = stage.send(about(`${V4.vip}:80`, `${V4.client}:4000`));
    expect(sent.verdict).toBe("to-server");
    checkPacket(
      sent.bytes,
      valid(),
      to(V4.server),
      quoting(from(`${V4.server}:8000`), to(`${V4.pool}:4000`)),
    );
    expect(stage.connections()).toMatchObject([{ expiresSeconds: 3 }]);
    stage.run(3000 + 2 * 160);
    expect(stage.connections()).toEqual([]);
  });

  test("but none of one packet, and none of a client that cannot be", () => {
    const once = fullNat(V4).map(({ fullNat: _, ...rest }) => ({ ...rest, isOnePacket: true }));
    const stage = begin(once, [], { ipvs });
    expect(stage.send(about(`${V4.vip}:80`, `${V4.client}:4000`)).verdict).toBe("drop icmp-no-connection");
    const other = begin(fullNat(V4), [], { ipvs });
    for (const client of ["127.0.0.1", "224.0.0.1", V4.pool, V4.vip])
      expect(other.send(about(`${V4.vip}:80`, `${client}:4000`)).verdict).toBe("drop icmp-no-connection");
    expect([...stage.connections(), ...other.connections()]).toEqual([]);
  });

  test("an error that came to another virtual address begins nothing", () => {
    const other = service("udp", "202.103.106.6", 80, "rr", destination("172.16.0.9", 80));
    const stage = begin([...fullNat(V4), other], [], { ipvs });
    expect(stage.send(about("202.103.106.6:80", `${V4.client}:4000`)).verdict).toBe(
      "drop icmp-no-connection",
    );
    expect(stage.connections()).toEqual([]);
  });
});

/**
 * The director packet by packet: what goes in, what comes out, in every verdict and for every drop reason. What leaves
 * is judged by packet-check.ts, which computes checksums by their definition.
 */
import { afterEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, echo, fragment, icmp, ip, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import {
  checkPacket,
  fragmentOf,
  from,
  icmpRest,
  icmpType,
  payload,
  quoting,
  tcpAcknowledgment,
  tcpFlags,
  tcpSequence,
  to,
  tos,
  ttl,
  valid,
  validPartial,
} from "../../test/support/packet-check.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { expectBytes, expectPackets } from "../../test/support/same-bytes.ts";
import { Stage, type StageOptions } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import { parseAddress } from "../wire/address.ts";
import { Gso } from "../wire/packet.ts";
import type { ServiceConfig } from "./configuration.ts";
import { DROP_REASONS, type DropReason } from "./drop-reason.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";

/** One place in each family: who is who, with its ports. */
interface Place {
  readonly family: 4 | 6;
  readonly client: string;
  readonly clientAddress: string;
  readonly vip: string;
  readonly server: string;
  readonly serverAddress: string;
  readonly at: (address: string, port: number) => string;
}
const V4: Place = {
  family: 4,
  client: "202.100.1.2:3456",
  clientAddress: "202.100.1.2",
  vip: "202.103.106.5",
  server: "172.16.0.3:8000",
  serverAddress: "172.16.0.3",
  at: (address, port) => `${address}:${port}`,
};
const V6: Place = {
  family: 6,
  client: "[2001:db8:1::2]:3456",
  clientAddress: "2001:db8:1::2",
  vip: "2001:db8:5::5",
  server: "[fd00:16::3]:8000",
  serverAddress: "fd00:16::3",
  at: (address, port) => `[${address}]:${port}`,
};
const PLACES: [string, Place][] = [
  ["IPv4", V4],
  ["IPv6", V6],
];

function servicesOf({ vip, serverAddress }: Place): ServiceConfig[] {
  return (["tcp", "udp", "sctp"] as const).map((protocol) =>
    service(protocol, vip, 80, "rr", destination(serverAddress, 8000)),
  );
}

const stages: Stage[] = [];
function stageOf(place: Place, options: StageOptions = {}, services = servicesOf(place)): Stage {
  const stage = new Stage(services, options);
  stages.push(stage);
  return stage;
}

/** Whatever a test did, the director must be sound afterwards. */
afterEach(() => {
  for (const { director } of stages.splice(0)) expect(census(director)).toEqual([]);
});

const BUILDERS = {
  tcp: (fields: { from: string; to: string; ttl?: number; payload?: Uint8Array }) =>
    tcp({ ...fields, flags: "S" }),
  udp,
  sctp: ({ from, to, ttl }: { from: string; to: string; ttl?: number }) => sctp({ from, to, ttl: ttl ?? 64 }),
};

test("the founding example, to the byte", () => {
  const stage = stageOf(V4, {}, [
    service("tcp", V4.vip, 80, "wrr", destination("172.16.0.2", 80, 1), destination("172.16.0.3", 8000, 2)),
  ]);
  const request = {
    seq: 77,
    window: 5840,
    options: [2, 4, 5, 180],
    payload: "hello",
    identification: 9,
    tos: 8,
  };
  const asked = stage.send(tcp({ from: V4.client, to: "202.103.106.5:80", flags: "S", ttl: 64, ...request }));
  expect(asked.verdict).toBe("to-server");
  expectPackets(asked.out, [
    tcp({ from: V4.client, to: "172.16.0.3:8000", flags: "S", ttl: 63, ...request }),
  ]);
  const reply = { seq: 5, ack: 78, options: [2, 4, 5, 180], payload: "well", dontFragment: true };
  const answered = stage.send(
    tcp({ from: "172.16.0.3:8000", to: V4.client, flags: "SA", ttl: 64, ...reply }),
  );
  expect(answered.verdict).toBe("to-client");
  expectPackets(answered.out, [
    tcp({ from: "202.103.106.5:80", to: V4.client, flags: "SA", ttl: 63, ...reply }),
  ]);
});

describe.each(PLACES)("%s", (_name, place) => {
  const { client, clientAddress, vip, server, serverAddress, at } = place;
  const virtual = at(vip, 80);

  describe.each(["tcp", "udp", "sctp"] as const)("%s", (protocol) => {
    const build = BUILDERS[protocol];

    test.each([
      [-1, 63],
      [1, 65],
    ] as const)("there and back with hop change %i: TTL 64 becomes %i", (hopChange, hops) => {
      const stage = stageOf(place, { hopChange });
      const asked = stage.send(build({ from: client, to: virtual }));
      expect(asked.verdict).toBe("to-server");
      expectBytes(asked.bytes, build({ from: client, to: server, ttl: hops }));
      const answered = stage.send(build({ from: server, to: client }));
      expect(answered.verdict).toBe("to-client");
      expectBytes(answered.bytes, build({ from: virtual, to: client, ttl: hops }));
    });

    test("a TTL of 255 is not given more", () => {
      const stage = stageOf(place, { hopChange: 1 });
      checkPacket(stage.send(build({ from: client, to: virtual, ttl: 255 })).bytes, valid(), ttl(255));
    });

    test("a port nobody serves is rejected, or dropped in silence if so configured", () => {
      const unserved = at(vip, 81);
      const rejected = stageOf(place).send(build({ from: client, to: unserved }));
      expect(rejected.verdict).toBe("reply");
      if (protocol === "tcp") {
        checkPacket(
          rejected.bytes,
          valid(),
          from(unserved),
          to(client),
          ttl(64),
          tcpFlags("RA"),
          tcpAcknowledgment(2),
        );
      } else {
        const kind = place.family === 4 ? icmpType(3, 3) : icmpType(1, 4);
        checkPacket(rejected.bytes, valid(), from(vip), to(clientAddress), ttl(64), kind, icmpRest(0));
        checkPacket(rejected.bytes, quoting(from(client), to(unserved), ttl(64)));
      }
      const silent = stageOf(place, { unserved: "drop" });
      expect(silent.send(build({ from: client, to: unserved })).verdict).toBe("drop no-service");
      expect(silent.count("no-service")).toBe(1);
    });

    test("a service without a server that may: port unreachable from the virtual address, also for TCP", () => {
      const services = [service(protocol, vip, 80, "rr", destination(serverAddress, 8000, 0))];
      const { verdict, bytes: answer } = stageOf(place, {}, services).send(
        build({ from: client, to: virtual }),
      );
      expect(verdict).toBe("reply");
      const kind = place.family === 4 ? icmpType(3, 3) : icmpType(1, 4);
      checkPacket(answer, valid(), from(vip), to(clientAddress), kind, quoting(from(client), to(virtual)));
    });

    test("TTL 1 towards the server: time exceeded from the virtual address; from the server: in the director's name", () => {
      const stage = stageOf(place);
      stage.send(build({ from: client, to: virtual }));
      const tired = stage.send(build({ from: client, to: virtual, ttl: 1 }));
      expect(tired.verdict).toBe("reply");
      const kind = place.family === 4 ? icmpType(11, 0) : icmpType(3, 0);
      checkPacket(
        tired.bytes,
        valid(),
        from(vip),
        to(clientAddress),
        kind,
        quoting(from(client), to(virtual), ttl(1)),
      );
      expect(stage.send(build({ from: server, to: client, ttl: 1 })).verdict).toBe("drop ttl-expired");
      const own = place.family === 4 ? "172.16.0.1" : "fd00:16::1";
      stage.director.ownAddress[place.family] = parseAddress(own)!.words;
      const answer = stage.send(build({ from: server, to: client, ttl: 1 }));
      checkPacket(
        answer.bytes,
        valid(),
        from(own),
        to(serverAddress),
        kind,
        quoting(from(server), to(client)),
      );
    });

    test("a wrong checksum stays wrong: it is the server's to judge", () => {
      if (protocol === "sctp") return;
      const make = protocol === "tcp" ? tcp : udp;
      const stage = stageOf(place);
      stage.send(build({ from: client, to: virtual }));
      const passed = stage.send(make({ from: client, to: virtual, payload: "abc", checksum: "wrong" }));
      expect(passed.verdict).toBe("to-server");
      checkPacket(passed.bytes, from(client), to(server));
      expect(() => checkPacket(passed.bytes, valid())).toThrow("checksum of protocol");
    });

    test("fragments in any order are translated whole and cut again", () => {
      if (protocol === "sctp") return;
      const make = protocol === "tcp" ? (f: Parameters<typeof tcp>[0]) => tcp({ ...f, flags: "S" }) : udp;
      const whole = make({ from: client, to: virtual, payload: bytes(3000), identification: 77 });
      const pieces = fragment(whole, 1280, 77);
      const wanted = fragment(
        make({ from: client, to: server, payload: bytes(3000), identification: 77, ttl: 63 }),
        1280,
        77,
      );
      for (const order of [pieces, pieces.toReversed(), [pieces[1]!, pieces[2]!, pieces[0]!]]) {
        const stage = stageOf(place);
        const sent = order.map((piece) => stage.send(piece));
        expect(sent.map(({ verdict }) => verdict)).toEqual(["held", "held", "to-server"]);
        expectPackets(sent[2]!.out, wanted);
        expect(stage.director.createdCount).toBe(1);
      }
    });
  });

  test("UDP without a checksum gets one", () => {
    const stage = stageOf(place);
    const sent = stage.send(udp({ from: client, to: virtual, payload: "dns?", checksum: "none" }));
    expectBytes(sent.bytes, udp({ from: client, to: server, payload: "dns?", ttl: 63 }));
    const back = stage.send(udp({ from: server, to: client, payload: "dns!", checksum: "none" }));
    expectBytes(back.bytes, udp({ from: virtual, to: client, payload: "dns!", ttl: 63 }));
  });

  test("a UDP checksum that comes out as zero is sent as 0xffff", () => {
    // The two bytes of payload that bring the translated checksum to zero are the checksum without them.
    const sized = udp({ from: client, to: server, payload: Uint8Array.of(0, 0), ttl: 63 });
    const zeroing = sized.slice(sized.length - 4, sized.length - 2);
    const sent = stageOf(place).send(udp({ from: client, to: virtual, payload: zeroing }));
    expect([...sent.bytes.slice(-4)]).toEqual([255, 255, ...zeroing]);
    checkPacket(sent.bytes, valid(), to(server));
  });

  describe("partial checksums and super-packets", () => {
    test.each(["tcp", "udp"] as const)("%s: the pseudo-header's sum follows the addresses", (protocol) => {
      const make = protocol === "tcp" ? (f: Parameters<typeof tcp>[0]) => tcp({ ...f, flags: "S" }) : udp;
      const stage = stageOf(place);
      const partial = { payload: bytes(500), checksum: "partial" as const };
      const sent = stage.send(make({ from: client, to: virtual, ...partial }), { isChecksumPartial: true });
      expectBytes(sent.bytes, make({ from: client, to: server, ...partial, ttl: 63 }));
      checkPacket(sent.bytes, validPartial());
      expect(stage.packet.isChecksumPartial).toBe(true);
      const back = stage.send(make({ from: server, to: client, ...partial }), { isChecksumPartial: true });
      expectBytes(back.bytes, make({ from: virtual, to: client, ...partial, ttl: 63 }));
    });

    test("a 64 KiB super-packet goes through in one piece, both ways, and keeps what it is", () => {
      const stage = stageOf(place);
      const gso = place.family === 4 ? Gso.tcp4 : Gso.tcp6;
      const offload = { isChecksumPartial: true, gso, gsoBytes: 1440 };
      const fields = { payload: bytes(65_000), checksum: "partial" as const, flags: "PA" };
      stage.send(tcp({ from: client, to: virtual, flags: "S" }));
      const up = stage.send(tcp({ from: client, to: virtual, ...fields }), offload);
      expectPackets(up.out, [tcp({ from: client, to: server, ...fields, ttl: 63 })]);
      expect([stage.packet.gso, stage.packet.gsoBytes, stage.packet.isChecksumPartial]).toEqual([
        gso,
        1440,
        true,
      ]);
      const down = stage.send(tcp({ from: server, to: client, ...fields }), offload);
      expectPackets(down.out, [tcp({ from: virtual, to: client, ...fields, ttl: 63 })]);
    });

    test("the MTU is compared with the segments of a super-packet, not with its whole", () => {
      const stage = stageOf(place);
      stage.control.setMtu(serverAddress, 1400);
      const header = place.family === 4 ? 20 : 40;
      const fields = { from: client, to: virtual, payload: bytes(6000), dontFragment: true };
      const tcpOffload = (gsoBytes: number) => ({ gso: place.family === 4 ? Gso.tcp4 : Gso.tcp6, gsoBytes });
      stage.send(tcp({ from: client, to: virtual, flags: "S" }));
      expect(stage.send(tcp(fields), tcpOffload(1400 - header - 20)).verdict).toBe("to-server");
      const refused = stage.send(tcp(fields), tcpOffload(1400 - header - 19));
      expect(refused.verdict).toBe("reply");
      checkPacket(
        refused.bytes,
        valid(),
        from(vip),
        place.family === 4 ? icmpType(3, 4) : icmpType(2, 0),
        icmpRest(1400),
      );
      expect([stage.packet.gso, stage.packet.gsoBytes]).toEqual([Gso.none, 0]);
      expect(stage.send(udp(fields), { gso: Gso.udp, gsoBytes: 1400 - header - 8 }).verdict).toBe(
        "to-server",
      );
      expect(stage.send(udp(fields), { gso: Gso.udp, gsoBytes: 1400 - header - 7 }).verdict).toBe("reply");
    });
  });

  describe("MTU", () => {
    test("exactly fits; one byte more is refused with the MTU, quoting what the client sent", () => {
      const stage = stageOf(place);
      stage.control.setMtu(serverAddress, 1300);
      const header = place.family === 4 ? 28 : 48;
      const fields = { from: client, to: virtual, dontFragment: true };
      const fits = stage.send(udp({ ...fields, payload: bytes(1300 - header) }));
      expect(fits.out.map(({ length }) => length)).toEqual([1300]);
      const refused = stage.send(udp({ ...fields, payload: bytes(1301 - header) }));
      expect(refused.verdict).toBe("reply");
      const kind = place.family === 4 ? icmpType(3, 4) : icmpType(2, 0);
      checkPacket(refused.bytes, valid(), from(vip), to(clientAddress), kind, icmpRest(1300));
      checkPacket(refused.bytes, quoting(from(client), to(virtual)));
      expect(refused.bytes.length).toBe(place.family === 4 ? 576 : 1280);
    });

    test("of the way to clients is told to the server in the director's own name", () => {
      const stage = stageOf(place);
      stage.send(udp({ from: client, to: virtual }));
      stage.director.clientMtuBytes = 1300;
      const big = udp({ from: server, to: client, payload: bytes(1400), dontFragment: true });
      expect(stage.send(big).verdict).toBe("drop too-big");
      const own = place.family === 4 ? "172.16.0.1" : "fd00:16::1";
      stage.director.ownAddress[place.family] = parseAddress(own)!.words;
      const kind = place.family === 4 ? icmpType(3, 4) : icmpType(2, 0);
      checkPacket(
        stage.send(big).bytes,
        valid(),
        from(own),
        to(serverAddress),
        kind,
        icmpRest(1300),
        quoting(from(server)),
      );
    });
  });

  describe("ICMP errors", () => {
    const unreachable = place.family === 4 ? 3 : 1;
    const tooBig = place.family === 4 ? { type: 3, code: 4 } : { type: 2, code: 0 };
    const router = place.family === 4 ? "172.16.0.254" : "fd00:16::ff";
    const outside = place.family === 4 ? "202.100.1.254" : "2001:db8:1::ff";

    test.each(["tcp", "udp", "sctp"] as const)(
      "about %s to the server: the client sees its own packet",
      (protocol) => {
        const stage = stageOf(place);
        const { bytes: asServerSees } = stage.send(BUILDERS[protocol]({ from: client, to: virtual }));
        for (const sender of [serverAddress, router]) {
          const error = icmp({
            from: sender,
            to: clientAddress,
            type: unreachable,
            code: 1,
            payload: asServerSees,
          });
          const sent = stage.send(error);
          expect(sent.verdict).toBe("to-client");
          checkPacket(sent.bytes, valid(), from(vip), to(clientAddress), ttl(63), icmpType(unreachable, 1));
          checkPacket(sent.bytes, quoting(from(client), to(virtual), ttl(63)));
        }
      },
    );

    test.each(["tcp", "udp", "sctp"] as const)(
      "about %s to the client: the server sees its own packet",
      (protocol) => {
        const stage = stageOf(place);
        stage.send(BUILDERS[protocol]({ from: client, to: virtual }));
        const { bytes: asClientSees } = stage.send(BUILDERS[protocol]({ from: server, to: client }));
        for (const sender of [clientAddress, outside]) {
          const sent = stage.send(
            icmp({ from: sender, to: vip, ...tooBig, rest: 1280, payload: asClientSees }),
          );
          expect(sent.verdict).toBe("to-server");
          checkPacket(
            sent.bytes,
            valid(),
            from(sender),
            to(serverAddress),
            ttl(63),
            icmpType(tooBig.type, tooBig.code),
          );
          checkPacket(sent.bytes, icmpRest(1280), quoting(from(server), to(client)));
        }
      },
    );

    test("a quotation of eight transport bytes is enough, seven are of nobody", () => {
      const stage = stageOf(place);
      const { bytes: seen } = stage.send(udp({ from: client, to: virtual, payload: bytes(30) }));
      const header = place.family === 4 ? 20 : 40;
      const error = (quoted: number) =>
        icmp({
          from: serverAddress,
          to: clientAddress,
          type: unreachable,
          payload: seen.slice(0, header + quoted),
        });
      const sent = stage.send(error(8));
      expect(sent.verdict).toBe("to-client");
      checkPacket(sent.bytes, valid(), from(vip), quoting(from(client), to(virtual)));
      expect(stage.send(error(3)).verdict).toBe("pass");
    });

    test("do not move the state or the deadline, and are counted", () => {
      const stage = stageOf(place);
      const { bytes: seen } = stage.send(tcp({ from: client, to: virtual, flags: "S" }));
      stage.wait(20_000);
      stage.send(icmp({ from: serverAddress, to: clientAddress, type: unreachable, payload: seen }));
      expect(stage.connections()[0]).toMatchObject({ state: "SYN_RECV", expiresSeconds: 40 });
      expect(stage.control.status().counters).toMatchObject({ inPackets: 1, outPackets: 1 });
    });

    test("about no connection of ours: dropped at a virtual address, passed elsewhere", () => {
      const stage = stageOf(place);
      const strange = udp({ from: at(vip, 80), to: client });
      expect(
        stage.send(icmp({ from: clientAddress, to: vip, type: unreachable, payload: strange })).verdict,
      ).toBe("drop icmp-no-connection");
      const elsewhere = icmp({ from: serverAddress, to: clientAddress, type: unreachable, payload: strange });
      expect(stage.send(elsewhere).verdict).toBe("pass");
    });

    test("with a wrong checksum, or after the connection's time, are not translated", () => {
      const stage = stageOf(place);
      const { bytes: seen } = stage.send(udp({ from: client, to: virtual }));
      const error = { from: serverAddress, to: clientAddress, type: unreachable, payload: seen };
      expect(stage.send(icmp({ ...error, checksum: "wrong" })).verdict).toBe("drop bad-checksum");
      expect(stage.send(icmp({ ...error, ttl: 1 })).verdict).toBe("drop ttl-expired");
      stage.wait(300_000);
      expect(stage.send(icmp(error)).verdict).toBe("pass");
    });
  });

  describe("echo", () => {
    test("to a virtual address is answered, with the same bytes", () => {
      const stage = stageOf(place);
      const sent = stage.send(
        echo({ from: clientAddress, to: vip, id: 7, seq: 9, payload: bytes(100), ttl: 3 }),
      );
      expect(sent.verdict).toBe("reply");
      const wanted = echo({
        from: vip,
        to: clientAddress,
        id: 7,
        seq: 9,
        payload: bytes(100),
        isReply: true,
      });
      checkPacket(
        sent.bytes,
        valid(),
        from(vip),
        to(clientAddress),
        ttl(64),
        payload(bytes(100)),
        icmpRest(0x70009),
      );
      expect(sent.bytes.length).toBe(wanted.length);
    });

    test("of three fragments is answered in three", () => {
      const stage = stageOf(place);
      const pieces = fragment(echo({ from: clientAddress, to: vip, payload: bytes(3000) }), 1280, 5);
      const [, , last] = pieces.map((piece) => stage.send(piece));
      expect(last!.verdict).toBe("reply");
      expect(last!.out).toHaveLength(3);
      for (const piece of last!.out) checkPacket(piece, valid(), from(vip), to(clientAddress));
    });

    test("to others passes, replies to a virtual address do not", () => {
      const stage = stageOf(place);
      expect(stage.send(echo({ from: clientAddress, to: serverAddress })).verdict).toBe("pass");
      expect(stage.send(echo({ from: clientAddress, to: vip, isReply: true })).verdict).toBe(
        "drop unknown-protocol",
      );
    });

    test("can be switched off, and is not answered over a wrong checksum", () => {
      const question = { from: clientAddress, to: vip };
      expect(stageOf(place, { answerEcho: false }).send(echo(question)).verdict).toBe(
        "drop unknown-protocol",
      );
      expect(stageOf(place).send(echo({ ...question, checksum: "wrong" })).verdict).toBe("drop bad-checksum");
    });
  });

  test("other protocols at a virtual address: protocol unreachable, or silence", () => {
    const gre = ip({}, clientAddress, vip, 47, bytes(40));
    const sent = stageOf(place).send(gre);
    expect(sent.verdict).toBe("reply");
    const kind = place.family === 4 ? icmpType(3, 2) : icmpType(4, 1);
    checkPacket(
      sent.bytes,
      valid(),
      from(vip),
      to(clientAddress),
      kind,
      icmpRest(place.family === 4 ? 0 : 6),
    );
    expect(stageOf(place, { unserved: "drop" }).send(gre).verdict).toBe("drop unknown-protocol");
  });

  test("what is nobody's business passes, with one hop less", () => {
    const stage = stageOf(place);
    const other = place.family === 4 ? "198.51.100.1:9" : "[2001:db8:9::1]:9";
    for (const packet of [tcp({ from: client, to: other }), udp({ from: server, to: other })]) {
      const sent = stage.send(packet);
      expect(sent.verdict).toBe("pass");
      checkPacket(sent.bytes, valid(), ttl(63), to(other));
    }
    expect(stage.send(udp({ from: client, to: other, ttl: 1 })).verdict).toBe("drop ttl-expired");
    expect(stage.director.connections.count).toBe(0);
  });

  describe("two connections that look alike to the server", () => {
    const other = { ...place, vip: place.family === 4 ? "202.103.106.6" : "2001:db8:5::6" };
    const both = [...servicesOf(place), ...servicesOf(other)];

    test.each(["tcp", "udp", "sctp"] as const)(
      "%s: the second gets another source port, and both get their answers",
      (protocol) => {
        const stage = stageOf(place, {}, both);
        const build = BUILDERS[protocol];
        checkPacket(
          stage.send(build({ from: client, to: virtual })).bytes,
          valid(),
          from(client),
          to(server),
        );
        const second = stage.send(build({ from: client, to: at(other.vip, 80) })).bytes;
        checkPacket(second, valid(), from(clientAddress), to(server));
        const port =
          stage.connections().length === 2
            ? second.at(place.family === 4 ? 20 : 40)! * 256 + second.at(place.family === 4 ? 21 : 41)!
            : 0;
        expect(port).not.toBe(3456);
        expect(port).toBeGreaterThanOrEqual(1024);
        expect(stage.director.portChangedCount).toBe(1);
        // Later packets keep it; answers and errors find their way back to the client's own port.
        checkPacket(
          stage.send(build({ from: client, to: at(other.vip, 80) })).bytes,
          from(at(clientAddress, port)),
          valid(),
        );
        const back = stage.send(build({ from: server, to: at(clientAddress, port) }));
        checkPacket(back.bytes, valid(), from(at(other.vip, 80)), to(client));
        checkPacket(
          stage.send(build({ from: server, to: client })).bytes,
          valid(),
          from(virtual),
          to(client),
        );
        const type = place.family === 4 ? 3 : 1;
        const error = stage.send(icmp({ from: serverAddress, to: clientAddress, type, payload: second }));
        checkPacket(error.bytes, valid(), from(other.vip), quoting(from(client), to(at(other.vip, 80))));
        const complaint = stage.send(icmp({ from: clientAddress, to: other.vip, type, payload: back.bytes }));
        checkPacket(
          complaint.bytes,
          valid(),
          to(serverAddress),
          quoting(from(server), to(at(clientAddress, port))),
        );
      },
    );
  });
});

describe("TCP at the edges of a connection", () => {
  const virtual = `${V4.vip}:80`;
  const syn = tcp({ from: V4.client, to: virtual, flags: "S" });
  const seg = (flags: string) => tcp({ from: V4.client, to: virtual, flags });
  const answer = (flags: string, server = V4.server) => tcp({ from: server, to: V4.client, flags });

  test.each(["A", "F", "FA", "PA", "", "U"])("a first segment with flags %j is reset", (flags) => {
    const sent = stageOf(V4).send(
      tcp({ from: V4.client, to: virtual, flags, seq: 100, ack: 7, payload: "xyz" }),
    );
    expect(sent.verdict).toBe("reply");
    const hasAck = flags.includes("A");
    const spaceBytes = 3 + (flags.includes("F") ? 1 : 0);
    checkPacket(sent.bytes, valid(), from(virtual), to(V4.client), tcpFlags(hasAck ? "R" : "RA"));
    checkPacket(sent.bytes, tcpSequence(hasAck ? 7 : 0), tcpAcknowledgment(hasAck ? 0 : 100 + spaceBytes));
  });

  test.each(["R", "RA", "SR"])("a first segment with flags %j is not answered", (flags) => {
    const stage = stageOf(V4);
    expect(stage.send(tcp({ from: V4.client, to: virtual, flags })).verdict).toBe("drop no-service");
    expect(stage.director.createdCount).toBe(0);
  });

  test("sequence numbers wrap in the reset's acknowledgment", () => {
    const sent = stageOf(V4).send(tcp({ from: V4.client, to: `${V4.vip}:9`, flags: "S", seq: 0xffff_ffff }));
    checkPacket(sent.bytes, valid(), tcpFlags("RA"), tcpAcknowledgment(0));
  });

  test.each(["S", "SA", "SF", "SE"])("a first segment with flags %j makes a connection", (flags) => {
    expect(stageOf(V4).send(tcp({ from: V4.client, to: virtual, flags })).verdict).toBe("to-server");
  });

  test("from source port 20 nothing is scheduled: FTP data must have been announced", () => {
    const sent = stageOf(V4).send(tcp({ from: "202.100.1.2:20", to: virtual, flags: "S" }));
    expect(sent.verdict).toBe("reply");
    checkPacket(sent.bytes, valid(), tcpFlags("RA"));
  });

  const twoServers = [
    service("tcp", V4.vip, 80, "rr", destination("172.16.0.2", 80), destination("172.16.0.3", 8000)),
  ];

  test.each([
    ["TIME_WAIT", ["S", "F"]],
    ["CLOSE", ["S", ""]],
  ])("a SYN in %s begins a new connection, on another server", (state, flags) => {
    const stage = stageOf(V4, {}, twoServers);
    for (const one of flags) stage.send(seg(one));
    expect(stage.connections()).toMatchObject([{ state, destination: { address: "172.16.0.3" } }]);
    checkPacket(stage.send(syn).bytes, valid(), to("172.16.0.2:80"));
    expect(stage.connections()).toMatchObject([
      { state: "SYN_RECV", destination: { address: "172.16.0.2" } },
    ]);
    // The old server's late answer has no connection any more.
    expect(stage.send(answer("A")).verdict).toBe("pass");
  });

  test.each([
    ["SYN_RECV", ["S"]],
    ["ESTABLISHED", ["S", "A"]],
    ["CLOSE_WAIT", ["S", "A", "F"]],
  ])("a SYN in %s belongs to the connection there is", (_state, flags) => {
    const stage = stageOf(V4, {}, twoServers);
    for (const one of flags) stage.send(seg(one));
    checkPacket(stage.send(syn).bytes, valid(), to("172.16.0.3:8000"));
    expect(stage.director.createdCount).toBe(1);
  });

  test("a SYN in TIME_WAIT when no server may: port unreachable, and the old connection stays", () => {
    const stage = stageOf(V4);
    for (const flags of ["S", "F"]) stage.send(seg(flags));
    stage.apply([service("tcp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000, 0))]);
    checkPacket(stage.send(syn).bytes, valid(), icmpType(3, 3));
    expect(stage.connections()).toMatchObject([{ state: "TIME_WAIT" }]);
  });

  test("quiesced: no new connections, the old ones go on", () => {
    const stage = stageOf(V4);
    stage.send(syn);
    stage.apply([service("tcp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000, 0))]);
    expect(stage.send(seg("A")).verdict).toBe("to-server");
    expect(stage.send(answer("A")).verdict).toBe("to-client");
    expect(stage.send(tcp({ from: "202.100.1.2:9", to: virtual, flags: "S" })).verdict).toBe("reply");
  });
});

describe("a removed destination", () => {
  const ask = udp({ from: V4.client, to: `${V4.vip}:80` });
  const answer = udp({ from: V4.server, to: V4.client });
  const gone = [service("udp", V4.vip, 80, "rr"), service("tcp", V4.vip, 80, "rr")];

  test("drained: its connections go on both ways, new ones do not come", () => {
    const stage = stageOf(V4, { removal: "drain" });
    stage.send(ask);
    stage.apply(gone);
    expect([stage.send(ask).verdict, stage.send(answer).verdict]).toEqual(["to-server", "to-client"]);
    expect(stage.send(udp({ from: "202.100.1.3:9", to: `${V4.vip}:80` })).verdict).toBe("reply");
  });

  test("dropped: what clients send vanishes and renews nothing, what the server sends passes", () => {
    const stage = stageOf(V4, { removal: "drop" });
    stage.send(ask);
    stage.apply(gone);
    stage.wait(100_000);
    expect([stage.send(ask).verdict, stage.connections()[0]!.expiresSeconds]).toEqual([
      "drop destination-removed",
      200,
    ]);
    expect(stage.count("destination-removed")).toBe(1);
    expect([stage.send(answer).verdict, stage.connections()[0]!.expiresSeconds]).toEqual(["to-client", 300]);
  });

  test("added again it takes its connections back", () => {
    const stage = stageOf(V4, { removal: "drop" });
    stage.send(ask);
    stage.apply(gone);
    stage.apply(servicesOf(V4));
    expect(stage.send(ask).verdict).toBe("to-server");
    expect(stage.director.createdCount).toBe(1);
  });

  test("the service removed: its connections go on, its address stays virtual until the last of them ends", () => {
    const stage = stageOf(V4, { removal: "drain" });
    stage.send(ask);
    stage.apply([]);
    expect([stage.send(ask).verdict, stage.send(answer).verdict]).toEqual(["to-server", "to-client"]);
    expect(stage.send(tcp({ from: V4.client, to: `${V4.vip}:80`, flags: "S" })).verdict).toBe("reply");
    stage.run(301_000);
    expect([...stage.director.services.destinations()]).toEqual([]);
    expect(stage.send(tcp({ from: V4.client, to: `${V4.vip}:80`, flags: "S" })).verdict).toBe("pass");
  });

  test("the service added anew with the server takes the connections back", () => {
    const stage = stageOf(V4, { removal: "drop" });
    stage.send(ask);
    stage.apply([]);
    stage.apply(servicesOf(V4));
    expect([stage.send(ask).verdict, stage.connections().length]).toEqual(["to-server", 1]);
  });
});

describe("bounds", () => {
  test("a full table refuses new connections, serves the old ones, and takes new ones when those are over", () => {
    const stage = stageOf(V4, { connectionsMax: 3 });
    const ask = (port: number) =>
      stage.send(udp({ from: `202.100.1.2:${port}`, to: `${V4.vip}:80` })).verdict;
    expect([1, 2, 3, 4].map(ask)).toEqual(["to-server", "to-server", "to-server", "drop table-full"]);
    expect([ask(2), stage.count("table-full")]).toEqual(["to-server", 1]);
    stage.run(301_000);
    expect([4, 5, 6, 7].map(ask)).toEqual(["to-server", "to-server", "to-server", "drop table-full"]);
  });

  test("a connection that ran out and was not swept yet makes room for nobody but itself", () => {
    const stage = stageOf(V4, { connectionsMax: 1 });
    const ask = (port: number) =>
      stage.send(udp({ from: `202.100.1.2:${port}`, to: `${V4.vip}:80` })).verdict;
    ask(1);
    stage.wait(300_000);
    expect([ask(1), stage.director.createdCount]).toEqual(["to-server", 2]);
  });

  test("thresholds: refused from the upper one on, back below three quarters", () => {
    const stage = stageOf(V4, {}, [
      service("udp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000, 1, 4)),
    ]);
    const ask = (port: number) =>
      stage.send(udp({ from: `202.100.1.2:${port}`, to: `${V4.vip}:80` })).verdict;
    const first = [1, 2, 3, 4, 5].map((port) => {
      stage.run(10_000);
      return ask(port);
    });
    expect(first).toEqual(["to-server", "to-server", "to-server", "to-server", "reply"]);
    stage.run(261_000); // the first is over: three are left
    expect(ask(6)).toBe("reply");
    stage.run(10_000); // two are left
    expect([ask(7), ask(8), ask(9)]).toEqual(["to-server", "to-server", "reply"]);
  });

  test("replies of the director's own are limited, each kind on the same account", () => {
    const stage = stageOf(V4, { repliesPerSecondMax: 3 });
    const reject = () => stage.send(tcp({ from: V4.client, to: `${V4.vip}:9`, flags: "S" })).verdict;
    const refuse = () => stage.send(udp({ from: V4.client, to: `${V4.vip}:9` })).verdict;
    expect([reject(), refuse(), reject(), refuse(), reject()]).toEqual([
      ...["reply", "reply", "reply"],
      ...["drop no-service", "drop no-service"],
    ]);
    stage.wait(334);
    expect([refuse(), reject()]).toEqual(["reply", "drop no-service"]);
    const quiesced = stageOf(V4, { repliesPerSecondMax: 0 }, [service("udp", V4.vip, 80, "rr")]);
    expect(quiesced.send(udp({ from: V4.client, to: `${V4.vip}:80` })).verdict).toBe("drop no-destination");
  });

  test("fragments never take more than their memory, and a flood of them does not stop the others", () => {
    const stage = stageOf(V4, { fragmentBytesMax: 1 << 16 });
    const datagram = udp({ from: V4.client, to: `${V4.vip}:80`, payload: bytes(2900) });
    for (let i = 0; i < 3000; i++) stage.send(fragment(datagram, 1500, i)[0]!);
    const whole = fragment(udp({ from: V4.client, to: `${V4.vip}:80`, payload: bytes(2900) }), 1500, 9999);
    expect(whole.map((piece) => stage.send(piece).verdict)).toEqual(["held", "to-server"]);
    expect(stage.director.reassembly.waitingCount).toBeLessThanOrEqual(16);
    expect(stage.count("fragments-full")).toBe(3001 - 16);
  });
});

test("an IPv4 packet without don't fragment is cut for a narrow way, one with it is refused", () => {
  const stage = stageOf(V4);
  stage.control.setMtu(V4.serverAddress, 1200);
  const sent = stage.send(
    udp({ from: V4.client, to: `${V4.vip}:80`, payload: bytes(2000), identification: 6 }),
  );
  expect(sent.verdict).toBe("to-server");
  expect(sent.out.map(({ length }) => length)).toEqual([1196, 852]);
  checkPacket(sent.out[0]!, valid(), from(V4.client), to(V4.server), fragmentOf(6, 0, true), ttl(63));
  checkPacket(sent.out[1]!, valid(), fragmentOf(6, 1176, false), ttl(63));
});

test("reassembled IPv6 is measured by its largest fragment", () => {
  const stage = stageOf(V6);
  stage.control.setMtu(V6.serverAddress, 1280);
  const whole = udp({ from: V6.client, to: V6.at(V6.vip, 80), payload: bytes(3000) });
  expect(fragment(whole, 1280).map((piece) => stage.send(piece).verdict)).toEqual([
    "held",
    "held",
    "to-server",
  ]);
  const sent = fragment(whole, 1400, 2).map((piece) => stage.send(piece));
  checkPacket(sent.at(-1)!.bytes, valid(), icmpType(2, 0), icmpRest(1280));
});

describe("headers in between", () => {
  test("IPv4 options go through and are covered by the checksum", () => {
    const ipOptions = [7, 7, 4, 0, 0, 0, 0, 0];
    const stage = stageOf(V4);
    const sent = stage.send(tcp({ from: V4.client, to: `${V4.vip}:80`, flags: "S", ipOptions, tos: 0x28 }));
    expectBytes(
      sent.bytes,
      tcp({ from: V4.client, to: V4.server, flags: "S", ipOptions, tos: 0x28, ttl: 63 }),
    );
    checkPacket(sent.bytes, valid(), tos(0x28));
  });

  test("IPv6 extension headers go through, one after the other", () => {
    const extensions = [
      { header: 0, body: [0, 5, 2, 0, 0, 1, 0] },
      { header: 60, body: [0, 1, 4, 0, 0, 0, 0] },
      { header: 43, body: [0, 0, 0, 0, 0, 0, 0] },
      { header: 60, body: [1, 1, 12, ...Array<number>(12).fill(0)] },
    ];
    const stage = stageOf(V6);
    const sent = stage.send(tcp({ from: V6.client, to: V6.at(V6.vip, 80), flags: "S", extensions }));
    expectBytes(sent.bytes, tcp({ from: V6.client, to: V6.server, flags: "S", extensions, ttl: 63 }));
    const back = stage.send(tcp({ from: V6.server, to: V6.client, flags: "SA", extensions }));
    checkPacket(back.bytes, valid(), from(V6.at(V6.vip, 80)), to(V6.client), tcpFlags("SA"));
    // An error or a reset about them begins a header of its own.
    const reset = stage.send(tcp({ from: V6.client, to: V6.at(V6.vip, 9), flags: "S", extensions }));
    checkPacket(reset.bytes, valid(), tcpFlags("RA"), from(V6.at(V6.vip, 9)), to(V6.client));
  });

  test("a destination with port 0 keeps the port the client asked for", () => {
    const stage = stageOf(V4, {}, [service("udp", V4.vip, 53, "rr", destination(V4.serverAddress, 0))]);
    checkPacket(stage.send(udp({ from: V4.client, to: `${V4.vip}:53` })).bytes, valid(), to("172.16.0.3:53"));
  });

  test("link-layer padding behind the packet is cut off", () => {
    const stage = stageOf(V4);
    const padded = Uint8Array.from([
      ...tcp({ from: V4.client, to: `${V4.vip}:80`, flags: "S" }),
      0,
      0,
      0,
      0,
      0,
      0,
    ]);
    checkPacket(stage.send(padded).bytes, valid(), to(V4.server));
  });
});

describe("every drop reason is reached, and its counter moves by one", () => {
  const virtual = `${V4.vip}:80`;
  const badHeader = (change: (view: DataView) => void): Uint8Array => {
    const packet = udp({ from: V4.client, to: virtual });
    change(new DataView(packet.buffer));
    return packet;
  };
  const hold = (stage: Stage) =>
    stage.send(fragment(udp({ from: V4.client, to: virtual, payload: bytes(3000) }), 1500)[0]!);
  const ask = udp({ from: V4.client, to: virtual });

  const ways: Record<Exclude<DropReason, "internal-error">, (stage: Stage) => string | undefined> = {
    truncated: (stage) => stage.send(ask.slice(0, 27)).verdict,
    malformed: (stage) => stage.send(badHeader((view) => view.setUint8(0, 0x54))).verdict,
    "bad-checksum": (stage) => stage.send(badHeader((view) => view.setUint8(8, 63))).verdict,
    "ttl-expired": (stage) => stage.send(udp({ from: V4.client, to: "198.51.100.1:9", ttl: 1 })).verdict,
    "no-call-id": (stage) => {
      const persistence = { timeout: seconds(60), engine: "sip" as const };
      stage.apply([
        { ...service("udp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000)), persistence },
      ]);
      return stage.send(ask).verdict;
    },
    defence: (stage) => {
      const settings = { ...IPVS_SETTINGS, ipvs: { ...IPVS_DEFAULTS, drop_packet: 3 as const } };
      stage.apply(servicesOf(V4), { settings });
      return stage.send(ask).verdict;
    },
    "no-room-for-header": (stage) => {
      const web = service("tcp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000));
      stage.apply([{ ...web, proxyProtocol: "v2" }]);
      stage.send(tcp({ from: V4.client, to: virtual, flags: "S", seq: 1000 }));
      stage.send(tcp({ from: V4.server, to: V4.client, flags: "SA", seq: 5000, ack: 1001 }));
      const full = { flags: "A", seq: 1001, ack: 5001, payload: bytes(65_495) };
      return stage.send(tcp({ from: V4.client, to: virtual, ...full })).verdict;
    },
    application: (stage) => {
      const web = service("tcp", V4.vip, 80, "rr", destination(V4.serverAddress, 8000));
      stage.apply([{ ...web, app: "ftp" }]);
      stage.send(tcp({ from: V4.client, to: virtual, flags: "S", seq: 1000 }));
      const early = { flags: "A", seq: 1002, ack: 5001, payload: "OOP\r\n" };
      return stage.send(tcp({ from: V4.client, to: virtual, ...early })).verdict;
    },
    "too-big": (stage) => {
      stage.control.setMtu(V4.serverAddress, 1000);
      const big = { from: V4.client, to: virtual, payload: bytes(1000), dontFragment: true };
      for (let i = 0; i < 2; i++) stage.send(udp({ from: V4.client, to: `${V4.vip}:9` }));
      return stage.send(udp(big)).verdict;
    },
    "no-service": (stage) => stage.send(tcp({ from: V4.client, to: `${V4.vip}:9`, flags: "R" })).verdict,
    "no-destination": (stage) => {
      stage.apply([service("udp", V4.vip, 80, "rr")]);
      for (let i = 0; i < 2; i++) stage.send(ask);
      return stage.send(ask).verdict;
    },
    "destination-removed": (stage) => {
      stage.send(ask);
      stage.apply([]);
      return stage.send(ask).verdict;
    },
    "table-full": (stage) => {
      for (let i = 0; i < 2; i++) stage.send(udp({ from: `202.100.1.2:${i + 1}`, to: virtual }));
      return stage.send(ask).verdict;
    },
    "tuple-exhausted": (stage) => {
      const ports = { first: 2000, last: 2000 };
      stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: ["10.9.0.1"], ports }] });
      const out = (port: number) => stage.send(udp({ from: `172.16.0.3:${port}`, to: "198.51.100.1:53" }));
      out(1);
      return out(2).verdict;
    },
    "unknown-protocol": (stage) => stage.send(icmp({ from: V4.clientAddress, to: V4.vip, type: 13 })).verdict,
    "icmp-no-connection": (stage) =>
      stage.send(icmp({ from: V4.clientAddress, to: V4.vip, type: 3, payload: ask })).verdict,
    "bad-fragment": (stage) => {
      hold(stage);
      const [first] = fragment(udp({ from: V4.client, to: virtual, payload: bytes(3000) }), 1400);
      return stage.send(first!).verdict;
    },
    "fragments-full": (stage) => {
      for (let id = 0; id < 17; id++)
        stage.send(fragment(udp({ from: V4.client, to: virtual, payload: bytes(300) }), 100, id)[0]!);
      return undefined;
    },
    "fragment-timeout": (stage) => {
      hold(stage);
      stage.run(30_000);
      return undefined;
    },
    martian: (stage) => stage.send(udp({ from: "127.0.0.1:9", to: virtual })).verdict,
  };

  test("the list is complete; internal-error is the loop's, which is tested there", () => {
    expect([...Object.keys(ways), "internal-error"].sort()).toEqual([...DROP_REASONS].sort());
  });

  test.each(Object.entries(ways))("%s", (reason, way) => {
    const stage = stageOf(V4, {
      connectionsMax: 2,
      repliesPerSecondMax: 2,
      randomU32: () => 0,
      fragmentBytesMax: 1 << 16,
    });
    const verdict = way(stage);
    if (verdict !== undefined) expect(verdict).toBe(`drop ${reason}`);
    const counts = DROP_REASONS.filter((one) => stage.count(one) > 0).map((one) => [one, stage.count(one)]);
    expect(counts).toEqual([[reason, 1]]);
    expect(stage.control.status().drops).toEqual({ [reason]: 1 });
  });
});

describe("martians", () => {
  test.each(["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"])(
    "nothing is scheduled, reset or answered for %s",
    (source) => {
      const stage = stageOf(V4);
      expect(stage.send(tcp({ from: `${source}:9`, to: `${V4.vip}:80`, flags: "S" })).verdict).toBe(
        "drop martian",
      );
      expect(stage.send(tcp({ from: `${source}:9`, to: `${V4.vip}:81`, flags: "S" })).verdict).toBe(
        "drop martian",
      );
      expect(stage.send(udp({ from: `${source}:9`, to: `${V4.vip}:81` })).verdict).toMatch(/^drop/);
      expect(stage.send(echo({ from: source, to: V4.vip })).verdict).toBe("drop martian");
      expect(stage.send(ip({}, source, V4.vip, 47, bytes(9))).verdict).toMatch(/^drop/);
      expect(stage.director.createdCount).toBe(0);
    },
  );

  test.each(["::", "::1", "ff02::1", "ff0e::5"])("nor for %s", (source) => {
    const stage = stageOf(V6);
    expect(stage.send(tcp({ from: `[${source}]:9`, to: V6.at(V6.vip, 80), flags: "S" })).verdict).toBe(
      "drop martian",
    );
    expect(stage.send(udp({ from: `[${source}]:9`, to: V6.at(V6.vip, 81) })).verdict).toMatch(/^drop/);
    expect(stage.send(echo({ from: source, to: V6.vip })).verdict).toBe("drop martian");
  });

  test("a packet from a virtual address to a virtual address goes nowhere", () => {
    const stage = stageOf(V4);
    expect(stage.send(tcp({ from: `${V4.vip}:80`, to: `${V4.vip}:80`, flags: "S" })).verdict).toBe(
      "drop martian",
    );
    expect(stage.send(echo({ from: V4.vip, to: V4.vip })).verdict).toBe("drop martian");
  });
});

describe("counters", () => {
  test("connections, packets and bytes of server, service and whole, in both directions", () => {
    const stage = stageOf(V4);
    const ask = udp({ from: V4.client, to: `${V4.vip}:80`, payload: bytes(100) });
    const answer = udp({ from: V4.server, to: V4.client, payload: bytes(50) });
    for (const packet of [ask, answer, ask, answer, answer]) stage.send(packet);
    const wanted = { connections: 1, inPackets: 2, outPackets: 3, inBytes: 2 * 128, outBytes: 3 * 78 };
    const status = stage.control.status();
    const ofService = status.services.find(({ protocol }) => protocol === "udp")!;
    expect([status.counters, ofService.counters, ofService.destinations[0]!.counters]).toEqual([
      wanted,
      wanted,
      wanted,
    ]);
    expect(status.verdicts).toEqual({ "to-server": 2, "to-client": 3, pass: 0, reply: 0, held: 0, drop: 0 });
    expect(status.connections).toEqual({ count: 1, max: 4096, createdCount: 1 });
    stage.run(2000);
    expect(stage.control.status().rates).toMatchObject({ inPackets: 0, outPackets: 0, outBytes: 29 });
    stage.control.zero();
    const zero = { connections: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 };
    expect(stage.control.status()).toMatchObject({ counters: zero, rates: zero, connections: { count: 1 } });
  });

  test("of a removed destination stand still, and go on when it is back", () => {
    const stage = stageOf(V4, { removal: "drain" });
    const ask = udp({ from: V4.client, to: `${V4.vip}:80` });
    stage.send(ask);
    stage.apply([service("udp", V4.vip, 80, "rr")]);
    stage.send(ask);
    stage.apply(servicesOf(V4));
    stage.send(ask);
    const udpService = stage.control.status().services.find(({ protocol }) => protocol === "udp")!;
    expect(udpService.destinations[0]!.counters.inPackets).toBe(2);
  });
});

test("fragment timeout: what was held is given up, and the rest begins anew", () => {
  const stage = stageOf(V4, { fragmentTimeout: seconds(5) });
  const [first, second] = fragment(
    udp({ from: V4.client, to: `${V4.vip}:80`, payload: bytes(2000) }),
    1500,
  ) as [Uint8Array, Uint8Array];
  stage.send(first);
  stage.run(4900);
  expect(stage.count("fragment-timeout")).toBe(0);
  stage.run(100);
  expect(stage.count("fragment-timeout")).toBe(1);
  expect([stage.send(second).verdict, stage.send(first).verdict]).toEqual(["held", "to-server"]);
});

test("a long silence ends everything at the next advance, in bounded steps", () => {
  const stage = stageOf(V4, { connectionsMax: 20_000 });
  for (let i = 0; i < 20_000; i++)
    stage.send(udp({ from: `202.100.${i >> 14}.${(i >> 8) & 63}:${1024 + (i & 255)}`, to: `${V4.vip}:80` }));
  expect(stage.director.connections.count).toBe(20_000);
  stage.wait(1_000_000);
  let calls = 0;
  while (stage.director.connections.count > 0) {
    const before = stage.director.connections.count;
    stage.director.advance(stage.now);
    expect(before - stage.director.connections.count).toBeLessThanOrEqual(4096);
    expect(++calls).toBeLessThan(10);
  }
});

test("one advance looks at a bounded number of entries, however few of them are over", () => {
  const stage = stageOf(V4, { connectionsMax: 20_000 });
  const ask = (i: number) =>
    stage.send(udp({ from: `202.100.${i >> 14}.${(i >> 8) & 63}:${1024 + (i & 255)}`, to: `${V4.vip}:80` }));
  for (let i = 0; i < 20_000; i++) ask(i);
  stage.wait(200_000);
  // All but one in a hundred are used again: their deadlines move, their places in the wheel stay.
  for (let i = 0; i < 20_000; i++) if (i % 100 !== 0) ask(i);
  stage.wait(100_500);
  const { connections } = stage.director;
  while (connections.count > 19_800) {
    const before = connections.lookCount;
    stage.director.advance(stage.now);
    expect(connections.lookCount - before).toBeLessThanOrEqual(4096);
    expect(connections.lookCount).toBeLessThanOrEqual(20_000);
  }
});

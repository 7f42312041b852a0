/** The engine, by protocols of this test's own: what modules may announce, and streams and datagrams that grow. */
import { describe, expect, test } from "vitest";
import { describeModule } from "../../../test/contract/application-module.ts";
import { tcp, udp } from "../../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../../test/support/packet-check.ts";
import { destination, service } from "../../../test/support/replayed.ts";
import { Stage } from "../../../test/support/stage.ts";
import { CHILDREN_MAX } from "../../nat/expectations.ts";
import { Gso } from "../../wire/packet.ts";
import { applicationsOf, type Engine } from "./engine.ts";
import type { Announcement, ApplicationModule, Dialogue, Side } from "./module.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVER = "172.16.0.3";
const OTHER = "172.16.0.2";
const INSIDER = "10.0.0.9";
const PUBLIC = "192.0.2.99";
const FAR = "198.51.100.21";

/** A datagram says whose announcement it is; the test says which. */
let announcements: Partial<Record<string, Announcement>> = {};
let answers: number[] = [];
let lastDialogue: Dialogue | undefined;
const talk: ApplicationModule = {
  name: "talk",
  transports: ["udp", "tcp"],
  ports: [5000],
  expectationsMax: 4,
  stream: {
    unitBytesMax: 64,
    endByte: 10,
    measure: (unit) => (unit.u8(unit.length - 1) === 10 ? unit.length : 0),
    mayChange: () => false,
  },
  read: (unit, side, dialogue) => {
    lastDialogue = dialogue;
    const what = announcements[unit.text().trim()];
    if (what !== undefined) answers.push(dialogue.listens(side, what));
  },
};
const child: ApplicationModule = {
  name: "child",
  transports: ["udp", "tcp"],
  ports: [],
  expectationsMax: 1,
  read: (unit) => unit.replace(0, unit.length, "read"),
};

const applications = applicationsOf([talk, child]);
const behind = (options = {}) =>
  new Stage(
    [{ ...service("udp", VIP, 5000, "rr", destination(OTHER, 500), destination(SERVER, 500)), app: "talk" }],
    {
      applications,
      ...options,
    },
  );
const outward = () => {
  const stage = new Stage([], { applications });
  stage.apply([], { masquerade: [{ from: ["10.0.0.0/24"], sources: [PUBLIC], apps: ["talk"] }] });
  return stage;
};

const say = (stage: Stage, side: Side, text: string, [a, b]: readonly [string, string]): void => {
  const [source, target] = side === "client" ? [a, b] : [b, a];
  stage.send(udp({ from: source, to: target, payload: text }));
};
/** What arrives, as "source > target", or the verdict where nothing does. */
const carried = (stage: Stage, source: string, target: string): string => {
  const { verdict, bytes } = stage.send(udp({ from: source, to: target, payload: "media" }));
  if (!verdict.startsWith("to-")) return verdict;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const end = (at: number, portAt: number) =>
    `${[...bytes.subarray(at, at + 4)].join(".")}:${view.getUint16(portAt)}`;
  return `${end(12, 20)} > ${end(16, 22)}`;
};
const announced = (stage: Stage, side: Side, what: Announcement, ends: readonly [string, string]): number => {
  announcements = { it: what };
  answers = [];
  say(stage, side, "it", ends);
  expect(answers).toHaveLength(1);
  return answers[0]!;
};

const OUTSIDE = [`${CLIENT}:4000`, `${VIP}:5000`] as const;
const INSIDE = [`${CLIENT}:4000`, `${SERVER}:500`] as const;
const OUT = [`${INSIDER}:4000`, `${FAR}:5000`] as const;
const OUT_SHOWN = [`${PUBLIC}:4000`, `${FAR}:5000`] as const;
const begun = (): Stage => {
  const stage = behind();
  say(stage, "client", "hello", OUTSIDE);
  return stage;
};
const begunOut = (): Stage => {
  const stage = outward();
  say(stage, "client", "hello", OUT);
  return stage;
};

describe("a server behind the director listens", () => {
  test("one port: the client finds it on the same, whoever sends first", () => {
    for (const isServerFirst of [false, true]) {
      const stage = begun();
      expect(announced(stage, "server", { protocol: "udp", port: 6000 }, INSIDE)).toBe(6000);
      if (isServerFirst)
        expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7000`)).toBe(`${VIP}:6000 > ${CLIENT}:7000`);
      expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6000`)).toBe(`${CLIENT}:7000 > ${SERVER}:6000`);
      expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7000`)).toBe(`${VIP}:6000 > ${CLIENT}:7000`);
      // One flow, and only from there.
      expect(carried(stage, `${CLIENT}:7001`, `${VIP}:6000`)).toBe("reply");
      expect(carried(stage, "202.100.1.9:7000", `${VIP}:6000`)).toBe("reply");
    }
  });

  test("both listen: one flow, whoever sends first", () => {
    for (const isServerFirst of [false, true]) {
      const stage = begun();
      announced(stage, "client", { protocol: "udp", port: 7000 }, OUTSIDE);
      announced(stage, "server", { protocol: "udp", port: 5000 }, INSIDE);
      // 5000 is the service's.
      expect(answers).toEqual([5001]);
      const there = () => carried(stage, `${CLIENT}:7000`, `${VIP}:5001`);
      if (!isServerFirst) expect(there()).toBe(`${CLIENT}:7000 > ${SERVER}:5000`);
      expect(carried(stage, `${SERVER}:5000`, `${CLIENT}:7000`)).toBe(`${VIP}:5001 > ${CLIENT}:7000`);
      expect(there()).toBe(`${CLIENT}:7000 > ${SERVER}:5000`);
    }
  });

  test("a pair begins with an even port, also where the server's own does not", () => {
    const stage = begun();
    expect(announced(stage, "server", { protocol: "udp", port: 6001, isPair: true }, INSIDE)).toBe(6002);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6002`)).toBe(`${CLIENT}:7000 > ${SERVER}:6001`);
    expect(carried(stage, `${CLIENT}:7001`, `${VIP}:6003`)).toBe(`${CLIENT}:7001 > ${SERVER}:6002`);
    expect([6001, 6002, 6003].map((port) => lastDialogue!.shownPortOf("server", "udp", port))).toEqual([
      6002, 6003, 0,
    ]);
    expect([6001, 6002, 6003].map((port) => lastDialogue!.ownPortOf("server", "udp", port))).toEqual([
      0, 6001, 6002,
    ]);
    lastDialogue!.withdraw("server", "udp", 6001);
    expect(carried(stage, `${CLIENT}:7001`, `${VIP}:6003`)).toBe("reply");
    expect(stage.connections()).toHaveLength(1);
  });

  test("two servers, one port, one client: the second is found elsewhere", () => {
    const stage = begun();
    announced(stage, "server", { protocol: "udp", port: 6000 }, INSIDE);
    say(stage, "client", "hello", [`${CLIENT}:4001`, `${VIP}:5000`]);
    const shown = announced(stage, "server", { protocol: "udp", port: 6000 }, [
      `${CLIENT}:4001`,
      `${OTHER}:500`,
    ]);
    expect(shown).toBe(6001);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6001`)).toBe(`${CLIENT}:7000 > ${OTHER}:6000`);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6000`)).toBe(`${CLIENT}:7000 > ${SERVER}:6000`);
  });

  test("a range, on the same numbers, for any number of connections", () => {
    const stage = begun();
    expect(announced(stage, "server", { protocol: "udp", port: 6000, lastPort: 6009 }, INSIDE)).toBe(6000);
    expect(announced(stage, "server", { protocol: "udp", port: 6020, lastPort: 6029 }, INSIDE)).toBe(6020);
    for (const port of [6000, 6009, 6020])
      expect(carried(stage, `${CLIENT}:7000`, `${VIP}:${port}`)).toBe(`${CLIENT}:7000 > ${SERVER}:${port}`);
    expect(carried(stage, `${SERVER}:6003`, `${CLIENT}:7000`)).toBe(`${VIP}:6003 > ${CLIENT}:7000`);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6010`)).toBe("reply");
  });

  test("for anyone, for as long as it lasts", () => {
    const stage = begun();
    const what = { protocol: "udp", port: 6000, from: "anyone", isLasting: true } as const;
    expect(announced(stage, "server", what, INSIDE)).toBe(6000);
    for (const client of ["202.100.1.9:7000", "202.100.1.8:7000", `${CLIENT}:7000`]) {
      expect(carried(stage, client, `${VIP}:6000`)).toBe(`${client} > ${SERVER}:6000`);
      expect(carried(stage, `${SERVER}:6000`, client)).toBe(`${VIP}:6000 > ${client}`);
    }
    // The children keep the control connection alive, and all are gone in the end.
    stage.run(290_000);
    carried(stage, "202.100.1.9:7000", `${VIP}:6000`);
    stage.run(290_000);
    expect(stage.connections().length).toBeGreaterThanOrEqual(2);
    stage.run(3_600_000);
    expect(stage.connections()).toEqual([]);
  });

  test("another server of the service, if that may be; another host never", () => {
    const what = { protocol: "udp", port: 6000, address: OTHER } as const;
    let stage = begun();
    expect(announced(stage, "server", what, INSIDE)).toBe(0);
    expect(announced(stage, "server", { ...what, isFellowAllowed: true }, INSIDE)).toBe(6000);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6000`)).toBe(`${CLIENT}:7000 > ${OTHER}:6000`);
    stage = begun();
    expect(
      announced(stage, "server", { ...what, address: "172.16.0.9", isFellowAllowed: true }, INSIDE),
    ).toBe(0);
    expect(announced(stage, "server", { protocol: "udp", port: 1023 }, INSIDE)).toBe(0);
    expect(announced(stage, "server", { protocol: "udp", port: 1023, isLowAllowed: true }, INSIDE)).toBe(
      1024,
    );
    expect(stage.control.status().applications[0]!.counters).toMatchObject({ foreign: 1, lowPort: 1 });
  });
});

describe("a client of a virtual service listens", () => {
  test("its server appears from its own port, the next free one, or the service's", () => {
    const stage = begun();
    announced(stage, "client", { protocol: "udp", port: 7000 }, OUTSIDE);
    expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7000`)).toBe(`${VIP}:6000 > ${CLIENT}:7000`);
    expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6000`)).toBe(`${CLIENT}:7000 > ${SERVER}:6000`);
    announced(stage, "client", { protocol: "udp", port: 7001 }, OUTSIDE);
    expect(carried(stage, `${SERVER}:500`, `${CLIENT}:7001`)).toBe(`${VIP}:5000 > ${CLIENT}:7001`);
    announced(stage, "client", { protocol: "udp", port: 7002, appearsFrom: 99 }, OUTSIDE);
    expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7002`)).toBe(`${VIP}:99 > ${CLIENT}:7002`);
    expect(carried(stage, `${OTHER}:6000`, `${CLIENT}:7002`)).toBe("pass");
  });

  test("on a range", () => {
    const stage = begun();
    announced(stage, "client", { protocol: "udp", port: 7000, lastPort: 7100 }, OUTSIDE);
    expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7050`)).toBe(`${VIP}:6000 > ${CLIENT}:7050`);
    expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:7101`)).toBe("pass");
    expect(carried(stage, `${CLIENT}:7100`, `${VIP}:6000`)).toBe("reply");
  });
});

describe("a client going out listens", () => {
  test("a pair: whoever sends first, and where it is shown", () => {
    for (const isClientFirst of [false, true]) {
      const stage = begunOut();
      expect(announced(stage, "client", { protocol: "udp", port: 6001, isPair: true }, OUT)).toBe(6002);
      const out = () => carried(stage, `${INSIDER}:6001`, `${FAR}:9000`);
      if (isClientFirst) expect(out()).toBe(`${PUBLIC}:6002 > ${FAR}:9000`);
      expect(carried(stage, `${FAR}:9000`, `${PUBLIC}:6002`)).toBe(`${FAR}:9000 > ${INSIDER}:6001`);
      expect(out()).toBe(`${PUBLIC}:6002 > ${FAR}:9000`);
      expect(carried(stage, `${FAR}:9001`, `${PUBLIC}:6003`)).toBe(`${FAR}:9001 > ${INSIDER}:6002`);
    }
  });

  test("on the connection's own port, where its mapping is", () => {
    const stage = begunOut();
    const what = { protocol: "udp", port: 4000, preferredPort: 4000 } as const;
    expect(announced(stage, "client", what, OUT)).toBe(4000);
    expect(carried(stage, `${FAR}:9000`, `${PUBLIC}:4000`)).toBe(`${FAR}:9000 > ${INSIDER}:4000`);
    expect(carried(stage, `${INSIDER}:4000`, `${FAR}:9000`)).toBe(`${PUBLIC}:4000 > ${FAR}:9000`);
  });

  test("for anyone", () => {
    const stage = begunOut();
    const what = { protocol: "udp", port: 6112, from: "anyone", isLasting: true } as const;
    expect(announced(stage, "client", what, OUT)).toBe(6112);
    for (const host of [`${FAR}:9000`, "198.51.100.77:1"]) {
      expect(carried(stage, host, `${PUBLIC}:6112`)).toBe(`${host} > ${INSIDER}:6112`);
      expect(carried(stage, `${INSIDER}:6112`, host)).toBe(`${PUBLIC}:6112 > ${host}`);
    }
    expect(carried(stage, `${INSIDER}:6112`, "198.51.100.78:2")).toBe(`${PUBLIC}:6112 > 198.51.100.78:2`);
    expect(carried(stage, "198.51.100.78:2", `${PUBLIC}:6112`)).toBe(`198.51.100.78:2 > ${INSIDER}:6112`);
  });

  test("with a life of its own: it outlasts the connection, and then ends", () => {
    const stage = begunOut();
    announced(
      stage,
      "client",
      { protocol: "udp", port: 4000, isLasting: true, seconds: 3600, module: "child" },
      OUT,
    );
    stage.run(3_500_000);
    const { bytes } = stage.send(udp({ from: `${FAR}:7777`, to: `${PUBLIC}:4000`, payload: "hello there" }));
    checkPacket(bytes, valid(), from(`${FAR}:7777`), to(`${INSIDER}:4000`));
    expect(Buffer.from(bytes.subarray(28)).toString()).toBe("read");
    stage.run(200_000);
    expect(carried(stage, `${FAR}:7778`, `${PUBLIC}:4000`)).not.toMatch(/^198/);
    stage.run(3_600_000);
    expect(stage.connections()).toEqual([]);
  });

  test("the far end announces what is to be read: nothing changes but that", () => {
    const stage = begunOut();
    expect(announced(stage, "server", { protocol: "udp", port: 9000 }, OUT_SHOWN)).toBe(0);
    expect(announced(stage, "server", { protocol: "udp", port: 9001, module: "child" }, OUT_SHOWN)).toBe(
      9001,
    );
    const { bytes } = stage.send(udp({ from: `${INSIDER}:6000`, to: `${FAR}:9001`, payload: "hello" }));
    checkPacket(bytes, valid(), from(`${PUBLIC}:6000`), to(`${FAR}:9001`));
    expect(Buffer.from(bytes.subarray(28)).toString()).toBe("read");
  });
});

test("the same announcement again takes no further place; more than the module may have push out the oldest", () => {
  const stage = begun();
  for (let i = 0; i < 5; i++) announced(stage, "server", { protocol: "udp", port: 6000 }, INSIDE);
  expect(stage.connections()).toHaveLength(2);
  for (let port = 6001; port < 6005; port++) announced(stage, "server", { protocol: "udp", port }, INSIDE);
  expect(stage.connections()).toHaveLength(5);
  expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6000`)).toBe("reply");
  expect(carried(stage, `${CLIENT}:7000`, `${VIP}:6001`)).toBe(`${CLIENT}:7000 > ${SERVER}:6001`);
});

test("whoever comes, a lasting announcement has so many connections, and no more", () => {
  const stage = begun();
  announced(stage, "server", { protocol: "udp", port: 6000, from: "anyone", isLasting: true }, INSIDE);
  for (let i = 0; i < CHILDREN_MAX + 10; i++)
    carried(stage, `202.100.${2 + (i >> 8)}.${i & 255}:7000`, `${VIP}:6000`);
  expect(stage.connections().length).toBe(CHILDREN_MAX + 1);
});

test("ports of 0 in a packet are not what entries have in place of what they do not know", () => {
  const stage = begun();
  announced(stage, "server", { protocol: "udp", port: 6000 }, INSIDE);
  expect(carried(stage, `${CLIENT}:0`, `${VIP}:6000`)).toBe("drop martian");
  expect(carried(stage, `${SERVER}:6000`, `${CLIENT}:0`)).toBe("drop martian");
});

test("TCP: announced by datagrams, opened by SYN only, and read by the module that was asked for", () => {
  const stage = begun();
  announced(stage, "server", { protocol: "tcp", port: 6000 }, INSIDE);
  const send = (flags: string) =>
    stage.send(tcp({ from: `${CLIENT}:7000`, to: `${VIP}:6000`, flags })).verdict;
  expect([send("A"), send("S"), send("A")]).toEqual(["reply", "to-server", "to-server"]);
});

test("modules come and go: connections keep theirs, new ones get what there is", () => {
  const stage = begun();
  const engine = stage.director.applications as Engine;
  engine.define({ ...talk, read: (unit) => unit.replace(0, unit.length, "new") });
  announcements = { it: { protocol: "udp", port: 6000 } };
  const text = (port: number) => {
    const { bytes } = stage.send(udp({ from: `${CLIENT}:${port}`, to: `${VIP}:5000`, payload: "it" }));
    return Buffer.from(bytes.subarray(28)).toString();
  };
  expect([text(4000), text(4001)]).toEqual(["it", "new"]);
  engine.undefine("talk");
  expect([text(4001), text(4002)]).toEqual(["new", "it"]);
  stage.run(700_000);
  expect(stage.connections()).toEqual([]);
  engine.define(talk);
  expect(text(4003)).toBe("it");
});

// Streams of messages with a length in front, and datagrams, that grow

/** Two bytes of length, then text in which each "R" becomes ten letters; messages that begin with "$" are no units. */
const framed: ApplicationModule = {
  name: "framed",
  transports: ["tcp", "udp"],
  ports: [],
  expectationsMax: 0,
  stream: {
    unitBytesMax: 6000,
    measure: (unit) => {
      if (unit.u8(0) === 0x24) return unit.length < 2 ? 0 : -(2 + unit.u8(1));
      const length = unit.u16(0);
      return length < 0 ? 0 : 2 + length;
    },
    mayChange: (unit) => unit.u8(0) !== 0x24,
  },
  read: (unit, side) => {
    if (side !== "server") return;
    const at = unit.find(0x52);
    if (at < 0) return;
    unit.replace(at, 1, "x".repeat(10));
    unit.put16(0, unit.length + unit.growth - 2);
  },
};
const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (one) => one.charCodeAt(0));
const message = (text: string): string => String.fromCharCode(text.length >> 8, text.length & 255) + text;
const grown = (text: string): string => message(text.replace("R", "x".repeat(10)));
const LONG = `R${"y".repeat(4000)}`;
const framedStage = (protocol: "tcp" | "udp") =>
  new Stage([{ ...service(protocol, VIP, 5000, "rr", destination(SERVER, 500)), app: "framed" }], {
    applications: applicationsOf([framed]),
  });

describeModule(framed, {
  places: [
    {
      name: "messages that grow, frames between them, several in one segment",
      stage: () => framedStage("tcp"),
      outside: OUTSIDE,
      inside: INSIDE,
      said: [
        ["client", message("hello")],
        ["server", message("aRb"), grown("aRb")],
        ["client", `$\x05fiveR${message("")}`],
        ["server", `${message("plain")}$\x03RRR${message("R")}`, `${message("plain")}$\x03RRR${grown("R")}`],
        ["server", message("x".repeat(300))],
        ["server", message(`${"z".repeat(300)}R`), grown(`${"z".repeat(300)}R`)],
      ],
    },
    {
      name: "datagrams that grow",
      transport: "udp",
      stage: () => framedStage("udp"),
      outside: OUTSIDE,
      inside: INSIDE,
      said: [
        ["client", message("R")],
        ["server", message("aRb"), grown("aRb")],
      ],
    },
  ],
  runs: 60,
});

test("a message longer than a segment leaves as a super-packet of segments that fit", () => {
  const stage = framedStage("tcp");
  stage.send(tcp({ from: OUTSIDE[0], to: OUTSIDE[1], flags: "S", seq: 0 }));
  stage.send(tcp({ from: INSIDE[1], to: INSIDE[0], flags: "SA", seq: 0, ack: 1 }));
  stage.send(tcp({ from: OUTSIDE[0], to: OUTSIDE[1], flags: "A", seq: 1, ack: 1 }));
  const text = message(LONG);
  let last = new Uint8Array(0);
  for (let at = 0; at < text.length; at += 1000) {
    const payload = latin1(text.slice(at, at + 1000));
    last = stage
      .send(tcp({ from: INSIDE[1], to: INSIDE[0], flags: "A", seq: 1 + at, ack: 1, payload }))
      .bytes.slice();
    stage.send(tcp({ from: OUTSIDE[0], to: OUTSIDE[1], flags: "A", seq: 1, ack: 1 }));
  }
  expect(Buffer.from(last.subarray(40)).toString("latin1")).toBe(grown(LONG));
  const { gso, gsoBytes, isChecksumPartial } = stage.packet;
  expect([gso, gsoBytes, isChecksumPartial]).toEqual([Gso.none, 0, false]);
});

test("a datagram that grows beyond what links take is sent in fragments, whatever its sender thought of that", () => {
  const stage = framedStage("udp");
  say(stage, "client", message("x"), OUTSIDE);
  const payload = latin1(message(`R${"y".repeat(1465)}`));
  for (const checksum of ["full", "partial"] as const) {
    const { out } = stage.send(
      udp({ from: INSIDE[1], to: INSIDE[0], payload, dontFragment: true, checksum }),
      { isChecksumPartial: checksum === "partial" },
    );
    expect(out.map((one) => one.length)).toEqual([1500, 25]);
  }
});

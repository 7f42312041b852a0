/** What becomes of connections whose server was removed: every policy, from either side, with what hangs on them. */
import { afterEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { bytes, sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { checkPacket, from, icmpType, tcpFlags, to, valid } from "../../test/support/packet-check.ts";
import { destination, service } from "../../test/support/replayed.ts";
import { Stage, type StageOptions } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import type { RemovalPolicy, ServiceConfig, ServiceProtocol } from "./configuration.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const OLD = destination("172.16.0.2", 8000);
const NEW = destination("172.16.0.3", 8000);
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;

const stages: Stage[] = [];
afterEach(() => {
  for (const { director } of stages.splice(0)) expect(census(director)).toEqual([]);
});

function servicesOf(removal: RemovalPolicy | undefined, ...servers: (typeof OLD)[]): ServiceConfig[] {
  return PROTOCOLS.map((protocol) => ({
    ...service(protocol, VIP, 80, "rr", ...servers),
    ...(removal && { removal }),
  }));
}

/** A connection of each protocol to a server that was removed since; another server is there. */
function stageOf(removal: RemovalPolicy | undefined, options: StageOptions = {}): Stage {
  const stage = new Stage(servicesOf(removal, OLD), options);
  stages.push(stage);
  for (const protocol of PROTOCOLS) {
    stage.send(opening(protocol));
    stage.send(answer(protocol));
    stage.send(more(protocol));
  }
  stage.apply(servicesOf(removal, NEW));
  return stage;
}

const ends = { from: `${CLIENT}:4000`, to: `${VIP}:80` };
function opening(protocol: ServiceProtocol, fields = ends): Uint8Array {
  if (protocol === "tcp") return tcp({ ...fields, flags: "S" });
  return protocol === "udp" ? udp({ ...fields, payload: bytes(9) }) : sctp(fields);
}
function more(protocol: ServiceProtocol): Uint8Array {
  if (protocol === "tcp") return tcp({ ...ends, flags: "PA", payload: bytes(9) });
  return protocol === "udp" ? udp({ ...ends, payload: bytes(9) }) : sctp({ ...ends, chunks: [{ type: 0 }] });
}
function answer(protocol: ServiceProtocol, server = "172.16.0.2:8000"): Uint8Array {
  const fields = { from: server, to: ends.from };
  if (protocol === "tcp") return tcp({ ...fields, flags: "SA" });
  return protocol === "udp" ? udp(fields) : sctp({ ...fields, chunks: [{ type: 2 }] });
}

/** Verdicts of a packet in the middle and of a new beginning from the client, and of one from the server. */
const TABLE: [RemovalPolicy, Record<ServiceProtocol, readonly [string, string, string]>][] = [
  [
    "drain",
    {
      tcp: ["to-server", "to-server", "to-client"],
      udp: ["to-server", "to-server", "to-client"],
      sctp: ["to-server", "to-server", "to-client"],
    },
  ],
  [
    "drop",
    {
      tcp: ["drop destination-removed", "drop destination-removed", "to-client"],
      udp: ["drop destination-removed", "drop destination-removed", "to-client"],
      sctp: ["drop destination-removed", "drop destination-removed", "to-client"],
    },
  ],
  [
    "reset",
    {
      tcp: ["reply", "to-server", "reply"],
      udp: ["reply", "reply", "reply"],
      sctp: ["reply", "to-server", "reply"],
    },
  ],
  [
    "expire",
    {
      tcp: ["reply", "to-server", "pass"],
      udp: ["to-server", "to-server", "pass"],
      sctp: ["reply", "to-server", "pass"],
    },
  ],
  [
    "reschedule",
    {
      tcp: ["to-server", "to-server", "to-client"],
      udp: ["to-server", "to-server", "to-client"],
      sctp: ["to-server", "to-server", "to-client"],
    },
  ],
];

describe.each(TABLE)("%s", (policy, verdicts) => {
  test.each(PROTOCOLS)("%s: each kind of packet gets its verdict", (protocol) => {
    const [middle, beginning, fromServer] = verdicts[protocol];
    expect(stageOf(policy).send(more(protocol)).verdict).toBe(middle);
    expect(stageOf(policy).send(opening(protocol)).verdict).toBe(beginning);
    expect(stageOf(policy).send(answer(protocol)).verdict).toBe(fromServer);
  });
});

test.each([
  ["drain", "172.16.0.2:8000"],
  ["expire", "172.16.0.3:8000"],
  ["reschedule", "172.16.0.3:8000"],
] as const)("%s: a UDP client's next packet goes to %s", (policy, server) => {
  checkPacket(stageOf(policy).send(more("udp")).bytes, valid(), to(server));
});

test("expire_nodest_conn is expire, for services that say nothing else", () => {
  const ipvs = { ...IPVS_DEFAULTS, expire_nodest_conn: 1 } as const;
  checkPacket(stageOf(undefined, { ipvs }).send(opening("tcp")).bytes, valid(), to("172.16.0.3:8000"));
  checkPacket(stageOf("drain", { ipvs }).send(opening("tcp")).bytes, valid(), to("172.16.0.2:8000"));
});

describe("reset", () => {
  test("both ends are told: the client by the virtual address, the server by the client's", () => {
    const stage = stageOf("reset");
    const toClient = stage.send(more("tcp"));
    checkPacket(toClient.bytes, valid(), from(`${VIP}:80`), to(ends.from), tcpFlags("R"));
    const toServer = stage.send(tcp({ from: "172.16.0.2:8000", to: ends.from, flags: "PA", ack: 7 }));
    checkPacket(toServer.bytes, valid(), from(ends.from), to("172.16.0.2:8000"), tcpFlags("R"));
    checkPacket(stage.send(more("udp")).bytes, valid(), icmpType(3, 3));
  });

  test("an established connection is closed: it counts as inactive and is gone after the timeout of CLOSE", () => {
    const stage = stageOf("reset");
    const [old] = [...stage.director.services.destinations()].filter(({ isAvailable }) => !isAvailable);
    expect(old?.activeConnections).toBe(1);
    stage.send(more("tcp"));
    expect([old?.activeConnections, old?.inactiveConnections]).toEqual([0, 1]);
    stage.run(10_000 + 2 * 160);
    expect(stage.connections().filter(({ protocol }) => protocol === "tcp")).toEqual([]);
  });

  test("a client that goes on asking is not refused for ever: after a moment it gets another server", () => {
    const stage = stageOf("reset");
    const verdicts = new Set<string>();
    for (let second = 0; second < 15; second++) {
      verdicts.add(stage.send(more("udp")).verdict);
      stage.run(1000);
    }
    expect([...verdicts]).toEqual(["reply", "to-server"]);
  });
});

describe.each(["reset", "expire", "reschedule"] as const)("a whole service is removed: %s", (policy) => {
  const left = PROTOCOLS.filter((protocol) => policy !== "reschedule" || protocol === "udp");

  test.each(left)(
    "%s: the client is told, also when it asks late and the address is otherwise nobody's",
    (protocol) => {
      for (const packet of [more, opening]) {
        const stage = new Stage(servicesOf(policy, OLD).filter((one) => one.protocol === protocol));
        stages.push(stage);
        stage.send(opening(protocol));
        stage.send(answer(protocol));
        stage.send(more(protocol));
        stage.apply([]);
        stage.run(1000);
        if (policy !== "reschedule") expect(stage.send(answer(protocol)).verdict).toBe("reply");
        expect(stage.send(packet(protocol)).verdict).toBe("reply");
        stage.run(1_000_000);
        expect(stage.connections()).toEqual([]);
      }
    },
  );
});

describe("the sweep after a removal", () => {
  const persistent = (removal: RemovalPolicy, ...servers: (typeof OLD)[]): ServiceConfig[] => [
    {
      ...service("tcp", VIP, 80, "rr", ...servers),
      removal,
      persistence: { timeout: seconds(360) },
    },
  ];

  test("expire: connections and their templates are gone without another packet", () => {
    const stage = new Stage(persistent("expire", OLD));
    stages.push(stage);
    for (let port = 4000; port < 4040; port++)
      stage.send(opening("tcp", { ...ends, from: `${CLIENT}:${port}` }));
    expect(stage.connections()).toHaveLength(41);
    stage.apply(persistent("expire", NEW));
    stage.run(200);
    expect(stage.connections()).toEqual([]);
    expect([...stage.director.services.destinations()].map(({ address }) => address)).toEqual([NEW.address]);
  });

  test("drain: both stay, and the template pins nobody any more", () => {
    const stage = new Stage(persistent("drain", OLD));
    stages.push(stage);
    stage.send(opening("tcp"));
    stage.apply(persistent("drain", NEW));
    stage.run(200);
    expect(stage.connections()).toHaveLength(2);
    const next = stage.send(opening("tcp", { ...ends, from: `${CLIENT}:4001` }));
    checkPacket(next.bytes, valid(), to("172.16.0.3:8000"));
    // The old template is hidden under ports that no packet has, and runs out with its last connection.
    expect(stage.connections().filter(({ isTemplate }) => isTemplate)).toMatchObject([
      { destination: { address: OLD.address, port: 65_535 } },
      { destination: { address: NEW.address } },
    ]);
    stage.run(1_000_000);
    expect(stage.connections()).toEqual([]);
  });

  test("a removed service's templates live on, and a service made anew under its name takes them back", () => {
    const stage = new Stage(persistent("drain", OLD));
    stages.push(stage);
    stage.send(opening("tcp"));
    stage.apply([]);
    expect(stage.send(opening("tcp", { ...ends, from: `${CLIENT}:4001` })).verdict).toBe("reply");
    expect(stage.send(more("tcp")).verdict).toBe("to-server");
    stage.apply(persistent("drain", NEW, OLD));
    const pinned = stage.send(opening("tcp", { ...ends, from: `${CLIENT}:4002` }));
    checkPacket(pinned.bytes, valid(), to("172.16.0.2:8000"));
    expect(stage.connections().filter(({ isTemplate }) => isTemplate)).toHaveLength(1);
  });

  test("leaves masqueraded connections of a rule that ended alone", () => {
    const stage = new Stage(servicesOf("expire", OLD), { removal: "expire" });
    stages.push(stage);
    const masquerade = [{ from: ["172.16.0.0/24"], sources: [VIP] }];
    stage.apply(servicesOf("expire", OLD), { masquerade });
    const out = stage.send(tcp({ from: "172.16.0.2:5000", to: "198.51.100.1:443", flags: "S" }));
    checkPacket(out.bytes, valid(), from(`${VIP}:5000`));
    stage.apply(servicesOf("expire", NEW), { masquerade: [] });
    stage.run(200);
    const back = stage.send(tcp({ from: "198.51.100.1:443", to: `${VIP}:5000`, flags: "SA" }));
    checkPacket(back.bytes, valid(), to("172.16.0.2:5000"));
  });
});

/** Persistence: which packets share a template, how long it lives, and what makes it pin nobody. */
import { afterEach, describe, expect, test } from "vitest";
import { census } from "../../test/support/census.ts";
import { sctp, tcp, udp } from "../../test/support/packet-builder.ts";
import { checkPacket, to, valid } from "../../test/support/packet-check.ts";
import { destination, IPVS_SETTINGS, service } from "../../test/support/replayed.ts";
import { Stage, type StageOptions } from "../../test/support/stage.ts";
import { seconds } from "../base/environment.ts";
import type { DirectorConfig, IpvsSettings, ServiceConfig, ServiceProtocol } from "./configuration.ts";
import { TICK_MS } from "./connection-table.ts";
import { IPVS_DEFAULTS } from "./ipvs-settings.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const [A, B] = [destination("172.16.0.2", 8000), destination("172.16.0.3", 8000)];

const stages: Stage[] = [];
afterEach(() => {
  for (const { director } of stages.splice(0)) expect(census(director)).toEqual([]);
});

function begin(
  services: readonly ServiceConfig[],
  rest: Partial<Omit<DirectorConfig, "services">> = {},
  options: StageOptions = {},
): Stage {
  const stage = new Stage([], options);
  stage.apply(services, rest);
  stages.push(stage);
  return stage;
}

/** rr, so that without a template every connection would go to another server than the one before. */
const persistent = (
  protocol: ServiceProtocol,
  port: number,
  timeout = 360,
  netmask = "255.255.255.255",
  servers = [A, B],
): ServiceConfig => ({
  ...service(protocol, VIP, port, "rr", ...servers),
  persistence: { timeout: seconds(timeout), netmask },
});

const syn = (from: string, port = 80, address = VIP) => tcp({ from, to: `${address}:${port}`, flags: "S" });
const ack = (from: string, port = 80) => tcp({ from, to: `${VIP}:${port}`, flags: "A" });
const withSettings = (ipvs: Partial<IpvsSettings>): Partial<DirectorConfig> => ({
  settings: { ...IPVS_SETTINGS, ipvs: { ...IPVS_DEFAULTS, ...ipvs } },
});
/** Last octet of the server that was chosen. */
const server = (stage: Stage, bytes: Uint8Array): number => {
  const sent = stage.send(bytes);
  expect(sent.verdict).toBe("to-server");
  return sent.bytes[19]!;
};
const templates = (stage: Stage) => stage.connections().filter(({ isTemplate }) => isTemplate);

describe("a template's key (the project's reference, section 4.5)", () => {
  const marks = [{ mark: 7, destination: `${VIP}/32` }];
  const marked: ServiceConfig = { ...persistent("tcp", 0), protocol: "fwmark", address: "0.0.0.0", mark: 7 };
  const zero = [destination("172.16.0.2", 0), destination("172.16.0.3", 0)];

  test.each([
    [
      "a service's port",
      persistent("tcp", 80),
      {},
      [80, 80],
      { protocol: "tcp", port: 80, destinationPort: 8000 },
    ],
    [
      "a range has its first",
      { ...persistent("tcp", 80), lastPort: 90 },
      {},
      [80, 90],
      { protocol: "tcp", port: 80, destinationPort: 8000 },
    ],
    ["FTP has none", persistent("tcp", 21), {}, [21, 5000], { protocol: "tcp", port: 0, destinationPort: 0 }],
    [
      "all ports have none",
      persistent("tcp", 0, 360, undefined, zero),
      {},
      [80, 443],
      { protocol: "tcp", port: 0, destinationPort: 0 },
    ],
  ] as const)("%s", (_what, config, rest, [first, second], wanted) => {
    const stage = begin([config], rest);
    const pinned = server(stage, syn(`${CLIENT}:4000`, first));
    for (let port = 4001; port < 4005; port++)
      expect(server(stage, syn(`${CLIENT}:${port}`, second))).toBe(pinned);
    expect(templates(stage)).toMatchObject([
      {
        protocol: wanted.protocol,
        client: { address: CLIENT, port: 0 },
        virtual: { address: VIP, port: wanted.port },
        destination: { port: wanted.destinationPort },
      },
    ]);
  });

  test("a mark stands for all ports and protocols", () => {
    const stage = begin([{ ...marked, destinations: zero }], { marks });
    const pinned = server(stage, syn(`${CLIENT}:4000`, 80));
    expect(server(stage, syn(`${CLIENT}:4000`, 443))).toBe(pinned);
    expect(server(stage, udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }))).toBe(pinned);
    expect(server(stage, sctp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }))).toBe(pinned);
    expect(templates(stage)).toMatchObject([{ protocol: "ip", virtual: { address: "0.0.0.7", port: 0 } }]);
  });

  test("each protocol of all ports has its own", () => {
    const services = (["tcp", "udp"] as const).map((protocol) =>
      persistent(protocol, 0, 360, undefined, zero),
    );
    const stage = begin(services);
    stage.send(syn(`${CLIENT}:4000`, 80));
    stage.send(udp({ from: `${CLIENT}:4000`, to: `${VIP}:53` }));
    expect(
      templates(stage)
        .map(({ protocol }) => protocol)
        .toSorted(),
    ).toEqual(["tcp", "udp"]);
  });

  test.each([
    ["255.255.255.0", "202.100.1.77", true],
    ["255.255.255.0", "202.100.2.2", false],
    ["255.255.255.255", "202.100.1.3", false],
    ["255.0.0.0", "202.9.9.9", true],
  ])("under netmask %s, %s is the same client: %s", (netmask, other, isSame) => {
    const stage = begin([persistent("tcp", 80, 360, netmask)]);
    const pinned = server(stage, syn(`${CLIENT}:4000`));
    expect(server(stage, syn(`${other}:4000`)) === pinned).toBe(isSame);
    expect(templates(stage)).toHaveLength(isSame ? 1 : 2);
  });

  test.each([
    ["64", "2001:db8:1::ffff", true],
    ["64", "2001:db8:1:1::2", false],
    ["128", "2001:db8:1::3", false],
  ])("under prefix length %s, %s is the same client: %s", (netmask, other, isSame) => {
    const servers = [destination("fd00:16::2", 80), destination("fd00:16::3", 80)];
    const config = { ...service("tcp", "2001:db8:5::5", 80, "rr", ...servers) };
    const stage = begin([{ ...config, persistence: { timeout: seconds(360), netmask } }]);
    const at = (client: string) => tcp({ from: `[${client}]:4000`, to: "[2001:db8:5::5]:80", flags: "S" });
    const serverOf = (bytes: Uint8Array) => stage.send(bytes).bytes[39];
    const pinned = serverOf(at("2001:db8:1::2"));
    expect(serverOf(at(other)) === pinned).toBe(isSame);
  });

  test("two services at one address do not share theirs", () => {
    const stage = begin([persistent("tcp", 80), persistent("tcp", 443)]);
    stage.send(syn(`${CLIENT}:4000`, 80));
    stage.send(syn(`${CLIENT}:4000`, 443));
    expect(templates(stage)).toHaveLength(2);
  });
});

describe("a template's life", () => {
  /** A connection that is over at once, so that only the template is left. */
  function pinned(timeout: number): Stage {
    const stage = begin([persistent("tcp", 80, timeout)]);
    stage.send(syn(`${CLIENT}:4000`));
    stage.send(tcp({ from: `${CLIENT}:4000`, to: `${VIP}:80`, flags: "" }));
    return stage;
  }

  test.each([30, 360, 100_000])(
    "%i s from its last new connection: there one tick before, gone then",
    (timeout) => {
      for (const [ms, isThere] of [
        [timeout * 1000 - TICK_MS, true],
        [timeout * 1000, false],
      ] as const) {
        const stage = pinned(timeout);
        // The connection's end comes first, or the template would be prolonged.
        stage.run(11_000);
        stage.wait(ms - 11_000);
        expect(templates(stage)).toHaveLength(isThere ? 1 : 0);
        const was = server(stage, syn(`${CLIENT}:4001`));
        expect(was === 3).toBe(isThere);
      }
    },
  );

  test("counts from the last new connection, not from the last packet", () => {
    const stage = begin([persistent("tcp", 80, 100)]);
    stage.send(syn(`${CLIENT}:4000`));
    stage.send(ack(`${CLIENT}:4000`));
    stage.run(50_000);
    stage.send(ack(`${CLIENT}:4000`));
    expect(templates(stage)).toMatchObject([{ expiresSeconds: 50 }]);
    stage.send(syn(`${CLIENT}:4001`));
    expect(templates(stage)).toMatchObject([{ expiresSeconds: 100 }]);
  });

  test("while connections live it is prolonged by 60 s at a time, and from then on a new one gives it no more", () => {
    const stage = begin([persistent("tcp", 80, 100)]);
    const pin = server(stage, syn(`${CLIENT}:4000`));
    stage.send(ack(`${CLIENT}:4000`));
    stage.run(101_000);
    expect(templates(stage)[0]!.expiresSeconds).toBeGreaterThan(58);
    expect(server(stage, syn(`${CLIENT}:4001`))).toBe(pin);
    expect(templates(stage)).toMatchObject([{ expiresSeconds: 60 }]);
    // The established connection ends 900 s after its last packet, the template at most a minute later.
    stage.run(800_000);
    expect(templates(stage)).toHaveLength(1);
    stage.run(60_320);
    expect(stage.connections()).toEqual([]);
  });

  test("one that ran out and was not swept yet pins nobody, unless something hangs on it", () => {
    const stage = begin([persistent("tcp", 80, 100)]);
    const pin = server(stage, syn(`${CLIENT}:4000`));
    stage.send(ack(`${CLIENT}:4000`));
    stage.wait(101_000);
    expect(server(stage, syn(`${CLIENT}:4001`))).toBe(pin);
    expect(templates(stage)).toMatchObject([{ expiresSeconds: 60 }]);
  });

  test("a service that is edited: templates keep the timeout they began with, new ones have the new", () => {
    const stage = begin([persistent("tcp", 80, 100)]);
    stage.send(syn(`${CLIENT}:4000`));
    stage.apply([persistent("tcp", 80, 500)]);
    stage.send(syn(`${CLIENT}:4001`));
    stage.send(syn("202.100.1.9:4000"));
    expect(templates(stage).map(({ expiresSeconds }) => expiresSeconds)).toEqual([100, 500]);
    stage.apply([service("tcp", VIP, 80, "rr", A, B)]);
    const next = [4002, 4003].map((port) => server(stage, syn(`${CLIENT}:${port}`)));
    expect(next.toSorted()).toEqual([2, 3]);
  });
});

describe("pins", () => {
  test("outrank weight 0 and thresholds", () => {
    const stage = begin([
      persistent("tcp", 80, 360, undefined, [
        { ...A, upperThreshold: 1 },
        { ...B, upperThreshold: 1 },
      ]),
    ]);
    const pin = server(stage, syn(`${CLIENT}:4000`));
    const [full] = stage.director.services.all[0]!.destinations.filter(({ isOverloaded }) => isOverloaded);
    expect(full?.address.endsWith(`${pin}`)).toBe(true);
    expect(server(stage, syn(`${CLIENT}:4001`))).toBe(pin);
    stage.apply([
      persistent("tcp", 80, 360, undefined, [
        { ...A, weight: 0 },
        { ...B, weight: 0 },
      ]),
    ]);
    expect(server(stage, syn(`${CLIENT}:4002`))).toBe(pin);
    expect(stage.send(syn("202.100.1.9:4000")).verdict).toBe("reply");
  });

  test("to a server of weight 0 end under expire_quiescent_template, those of other connections do not", () => {
    const stage = begin([persistent("tcp", 80)], withSettings({ expire_quiescent_template: 1 }));
    const pin = server(stage, syn(`${CLIENT}:4000`));
    const quiet = [A, B].map((one) => ({ ...one, weight: one.address.endsWith(`${pin}`) ? 0 : 1 }));
    stage.apply(
      [persistent("tcp", 80, 360, undefined, quiet)],
      withSettings({ expire_quiescent_template: 1 }),
    );
    const next = server(stage, syn(`${CLIENT}:4001`));
    expect(next).not.toBe(pin);
    expect(server(stage, ack(`${CLIENT}:4000`))).toBe(pin);
    // Back at work it gets its client back no more: the new pin counts.
    stage.apply([persistent("tcp", 80)], withSettings({ expire_quiescent_template: 1 }));
    expect(server(stage, syn(`${CLIENT}:4002`))).toBe(next);
  });

  test("a connection that finds no room leaves its template alone", () => {
    const stage = begin([persistent("tcp", 80)], {}, { connectionsMax: 3 });
    stage.send(syn(`${CLIENT}:4000`));
    stage.send(syn(`${CLIENT}:4001`));
    expect(stage.send(syn(`${CLIENT}:4002`)).verdict).toBe("drop table-full");
    expect(stage.send(syn("202.100.1.9:4000")).verdict).toBe("drop table-full");
    expect(templates(stage)).toHaveLength(1);
  });

  test("FTP's data goes where its commands go, and without commands nowhere", () => {
    const stage = begin([
      persistent("tcp", 21, 360, undefined, [destination("172.16.0.2", 21), destination("172.16.0.3", 21)]),
    ]);
    const pin = server(stage, syn(`${CLIENT}:4000`, 21));
    const data = stage.send(syn(`${CLIENT}:4001`, 5000));
    checkPacket(data.bytes, valid(), to(`172.16.0.${pin}:5000`));
  });

  test("a one-packet service's are kept as well", () => {
    const stage = begin([{ ...persistent("udp", 80), isOnePacket: true }]);
    const ask = (port: number) => udp({ from: `${CLIENT}:${port}`, to: `${VIP}:80` });
    const pin = server(stage, ask(4000));
    for (let port = 4000; port < 4005; port++) expect(server(stage, ask(port))).toBe(pin);
    expect(stage.connections().map(({ isTemplate }) => isTemplate)).toEqual([true]);
    stage.run(400_000);
    expect(stage.connections()).toEqual([]);
  });
});

describe("the engine sip", () => {
  const sip: ServiceConfig = {
    ...persistent("udp", 80, 360, "255.255.255.0"),
    persistence: { timeout: seconds(360), netmask: "255.255.255.0", engine: "sip" },
  };
  const call = (from: string, id: string) =>
    udp({ from, to: `${VIP}:80`, payload: `INVITE sip:a SIP/2.0\r\nCall-ID: ${id}\r\n\r\n` });

  test("pins by Call-ID and network, one pin for each", () => {
    const stage = begin([sip]);
    const first = server(stage, call(`${CLIENT}:5060`, "one"));
    expect(server(stage, call(`${CLIENT}:5061`, "one"))).toBe(first);
    expect(server(stage, call("202.100.1.99:5060", "one"))).toBe(first);
    expect(server(stage, call(`${CLIENT}:5062`, "two"))).not.toBe(first);
    expect(server(stage, call("202.100.2.99:5060", "one"))).toBe(first);
    expect(
      templates(stage)
        .map(({ engine }) => engine?.data)
        .toSorted(),
    ).toEqual(["one", "one", "two"]);
    stage.run(1_000_000);
    expect(stage.director.calls.count).toBe(0);
  });

  test("is not asked about a packet of a connection there is", () => {
    const stage = begin([sip]);
    const first = server(stage, call(`${CLIENT}:5060`, "one"));
    expect(server(stage, udp({ from: `${CLIENT}:5060`, to: `${VIP}:80` }))).toBe(first);
    expect(stage.send(udp({ from: `${CLIENT}:5061`, to: `${VIP}:80` })).verdict).toBe("drop no-call-id");
  });

  test("of a removed server lets go of the Call-ID at once, for the next server to have it", () => {
    const stage = begin([sip]);
    const first = server(stage, call(`${CLIENT}:5060`, "one"));
    stage.apply([{ ...sip, destinations: [A, B].filter(({ address }) => !address.endsWith(`${first}`)) }]);
    const next = server(stage, call(`${CLIENT}:5061`, "one"));
    expect(next).not.toBe(first);
    expect(server(stage, call(`${CLIENT}:5062`, "one"))).toBe(next);
    expect([stage.director.calls.count, templates(stage).length]).toEqual([1, 2]);
  });

  test("switched off, clients are pinned by address; the calls' pins run out", () => {
    const stage = begin([sip]);
    stage.send(call(`${CLIENT}:5060`, "one"));
    stage.apply([persistent("udp", 80, 100)]);
    const pin = server(stage, call(`${CLIENT}:5061`, "two"));
    expect(server(stage, call(`${CLIENT}:5062`, "three"))).toBe(pin);
    stage.run(1_000_000);
    expect(stage.connections()).toEqual([]);
    expect(stage.director.calls.count).toBe(0);
  });
});

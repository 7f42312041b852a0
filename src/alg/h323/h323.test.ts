/** H.323 through a whole director: what is rewritten in either situation, who is let in, and what is refused. */
import { beforeEach, describe, expect, test } from "vitest";
import { describeModule } from "../../../test/contract/application-module.ts";
import { type Ends, h323Message, tpkt } from "../../../test/support/h323-messages.ts";
import { tcp, udp } from "../../../test/support/packet-builder.ts";
import { checkPacket, from, to, valid } from "../../../test/support/packet-check.ts";
import { destination, service } from "../../../test/support/replayed.ts";
import { Stage } from "../../../test/support/stage.ts";
import type { Place } from "../../../test/support/story.ts";
import type { ServiceConfig } from "../../nat/configuration.ts";
import { h245 } from "./h245.ts";
import { h323 } from "./h323.ts";

const VIP = "202.103.106.5";
const CLIENT = "202.100.1.2";
const SERVER = "172.16.0.3";
const FELLOW = "172.16.0.2";

const H323: ServiceConfig = {
  ...service("tcp", VIP, 1720, "rr", destination(SERVER, 1720), destination(FELLOW, 1720, 0)),
  app: "h323",
};
const RAS: ServiceConfig = { ...service("udp", VIP, 1719, "rr", destination(SERVER, 1719)), app: "h323" };
const served = (...services: ServiceConfig[]) => new Stage(services.length === 0 ? [H323, RAS] : services);
const goingOut = () => {
  const stage = new Stage([]);
  stage.apply([], { masquerade: [{ from: ["172.16.0.0/24"], sources: [VIP], apps: ["h323"] }] });
  return stage;
};

let stage: Stage;
const latin1 = (text: string) => Uint8Array.from(text, (one) => one.charCodeAt(0));

/** A TCP connection through the director, by its ends on both sides; nothing ever changes its length. */
class Call {
  readonly #ends: { readonly client: readonly [string, string]; readonly server: readonly [string, string] };
  readonly #next = { client: 1, server: 1 };

  /** @param caller - and whom he calls; @param callee - and how that one knows the caller */
  constructor(caller: readonly [string, string], callee: readonly [string, string]) {
    this.#ends = { client: caller, server: callee };
    checkPacket(this.#send("client", "S", "", 0).bytes, valid(), from(callee[1]), to(callee[0]));
    checkPacket(this.#send("server", "SA", "", 0).bytes, valid(), from(caller[1]), to(caller[0]));
    this.#send("client", "A", "");
  }

  /** What the other one hears. @param side - client: who opened the connection */
  say(side: "client" | "server", text: string): string {
    const sent = this.#send(side, "AP", text);
    this.#next[side] += text.length;
    this.#send(side === "client" ? "server" : "client", "A", "");
    checkPacket(sent.bytes, valid());
    return String.fromCharCode(...sent.bytes.subarray(40));
  }

  #send(side: "client" | "server", flags: string, text: string, seq = this.#next[side]) {
    const [source, target] = this.#ends[side];
    const ack = flags === "S" ? 0 : this.#next[side === "client" ? "server" : "client"];
    return stage.send(tcp({ from: source, to: target, flags, seq, ack, payload: latin1(text) }));
  }
}

const call = () => new Call([`${CLIENT}:40000`, `${VIP}:1720`], [`${SERVER}:1720`, `${CLIENT}:40000`]);
const outgoing = () => new Call([`${SERVER}:40000`, `${CLIENT}:1720`], [`${CLIENT}:1720`, `${VIP}:40000`]);
const counters = (name = "h323") =>
  stage.control.status().applications.find((one) => one.name === name)!.counters;
const datagram = (source: string, target: string, text = "rtp") =>
  stage.send(udp({ from: source, to: target, payload: latin1(text) }));
const opens = (source: string, target: string) => stage.send(tcp({ from: source, to: target, flags: "S" }));
/** Said with one kind of ends, heard with another. */
const expectHeard = (heard: string, name: string, ends: Ends) => expect(heard).toBe(h323Message(name, ends));

describe("a callee behind a virtual address", () => {
  beforeEach(() => {
    stage = served();
  });

  test("SETUP: where the call goes is the callee's own; the caller's addresses stay", () => {
    const ends = { sourceCallSignalAddress: `${CLIENT}:40000` };
    const heard = call().say(
      "client",
      h323Message("setup", { ...ends, destCallSignalAddress: `${VIP}:1720` }),
    );
    expectHeard(heard, "setup", { ...ends, destCallSignalAddress: `${SERVER}:1720` });
  });

  test.each(["callProceeding", "connect", "facility, startH245"])(
    "h245Address in %s: H.245, and media announced there",
    (name) => {
      const heard = call().say("server", h323Message(name, { h245Address: `${SERVER}:30000` }));
      expectHeard(heard, name, { h245Address: `${VIP}:30000` });
      const control = new Call([`${CLIENT}:41000`, `${VIP}:30000`], [`${SERVER}:30000`, `${CLIENT}:41000`]);
      const rtcp = { mediaControlChannel: `${CLIENT}:50001` };
      expectHeard(control.say("client", h323Message("openLogicalChannel", rtcp)), "openLogicalChannel", rtcp);
      const ack = (address: string) => ({
        mediaChannel: `${address}:31000`,
        mediaControlChannel: `${address}:31001`,
      });
      expectHeard(
        control.say("server", h323Message("openLogicalChannelAck", ack(SERVER))),
        "openLogicalChannelAck",
        ack(VIP),
      );
      expect([counters("h245").rewritten, counters().rewritten]).toEqual([1, 1]);
      // Media, and reports in the other direction.
      checkPacket(datagram(`${CLIENT}:50000`, `${VIP}:31000`).bytes, valid(), to(`${SERVER}:31000`));
      checkPacket(datagram(`${SERVER}:31001`, `${CLIENT}:50001`).bytes, valid(), from(`${VIP}:31001`));
      checkPacket(datagram(`${CLIENT}:50001`, `${VIP}:31001`).bytes, valid(), to(`${SERVER}:31001`));
      expect(datagram("202.100.1.9:50001", `${VIP}:31000`).verdict).not.toBe("to-server");
    },
  );

  test("h245Address of the caller: the callee goes there, and its addresses are read", () => {
    const ends = { h245Address: `${CLIENT}:30000` };
    const heard = call().say("client", h323Message("facility, startH245", ends));
    expectHeard(heard, "facility, startH245", ends);
    const control = new Call([`${SERVER}:52000`, `${CLIENT}:30000`], [`${CLIENT}:30000`, `${VIP}:52000`]);
    const rtcp = (address: string) => ({ mediaControlChannel: `${address}:31001` });
    expectHeard(
      control.say("client", h323Message("openLogicalChannel", rtcp(SERVER))),
      "openLogicalChannel",
      rtcp(VIP),
    );
  });

  test("fast connect: one pair of ports however often it is said, RTCP beside it", () => {
    const signalling = call();
    const offer = { mediaChannel: `${CLIENT}:50000`, mediaControlChannel: `${CLIENT}:50001` };
    signalling.say("client", h323Message("setup with parallel H.245", offer));
    const media = (address: string) => ({
      mediaChannel: `${address}:31000`,
      mediaControlChannel: `${address}:31001`,
    });
    for (const name of ["alerting with fastStart", "connect with fastStart", "progress"])
      expectHeard(
        signalling.say("server", h323Message(name, { ...media(SERVER), h245Address: `${SERVER}:0` })),
        name,
        { ...media(VIP), h245Address: `${SERVER}:0` },
      );
    checkPacket(datagram(`${SERVER}:31000`, `${CLIENT}:50000`).bytes, valid(), from(`${VIP}:31000`));
    checkPacket(datagram(`${CLIENT}:50000`, `${VIP}:31000`).bytes, valid(), to(`${SERVER}:31000`));
    expect(counters()).toMatchObject({ foreign: 0, noPlace: 0, failed: 0 });
  });

  test("as many addresses as a message may have, all of them changed", () => {
    stage = served(H323, service("udp", VIP, 31_000, "rr", destination(SERVER, 1)));
    const name = "setup with everything";
    const ends = (address: string, port: number) => ({
      destCallSignalAddress: `${CLIENT}:1720`,
      sourceCallSignalAddress: `${address}:1720`,
      h245Address: `${address}:30000`,
      ...media(address, port),
    });
    expectHeard(call().say("server", h323Message(name, ends(SERVER, 31_000))), name, ends(VIP, 31_002));
    expect(counters()).toMatchObject({ noRoom: 0, noPlace: 0, failed: 0 });
  });

  test("H.245 in a tunnel", () => {
    const media = (address: string) => ({
      mediaChannel: `${address}:31000`,
      mediaControlChannel: `${address}:31001`,
    });
    const heard = call().say("server", h323Message("empty, H.245 in a tunnel", media(SERVER)));
    expectHeard(heard, "empty, H.245 in a tunnel", media(VIP));
    checkPacket(datagram(`${CLIENT}:50001`, `${VIP}:31001`).bytes, valid(), to(`${SERVER}:31001`));
  });

  test("T.120: any number of connections to one port", () => {
    call().say("server", h323Message("connect", { h245Address: `${SERVER}:30000` }));
    const control = new Call([`${CLIENT}:41000`, `${VIP}:30000`], [`${SERVER}:30000`, `${CLIENT}:41000`]);
    const name = "openLogicalChannel, T.120";
    expectHeard(control.say("server", h323Message(name, { separateStack: `${SERVER}:1503` })), name, {
      separateStack: `${VIP}:1503`,
    });
    for (const port of [42_000, 42_001])
      checkPacket(opens(`${CLIENT}:${port}`, `${VIP}:1503`).bytes, to(`${SERVER}:1503`));
  });

  test.each([
    ["at another port", `${SERVER}:1722`, `${VIP}:1722`, `${SERVER}:1722`],
    ["at another server of the service", `${FELLOW}:1722`, `${VIP}:1722`, `${FELLOW}:1722`],
  ])("call forwarding %s", (_, said, wanted, reached) => {
    const name = "facility, callForwarded";
    const heard = call().say("server", h323Message(name, { alternativeAddress: said }));
    expectHeard(heard, name, { alternativeAddress: wanted });
    const second = new Call([`${CLIENT}:41000`, wanted], [reached, `${CLIENT}:41000`]);
    const setup = second.say("client", h323Message("setup", { destCallSignalAddress: wanted }));
    expectHeard(setup, "setup", { destCallSignalAddress: reached });
  });

  test("two callees that use the same port: the second is shown on the next pair", () => {
    stage = served(
      { ...service("tcp", VIP, 1720, "rr", destination(SERVER, 1720)), app: "h323" },
      { ...service("tcp", VIP, 1721, "rr", destination(FELLOW, 1720)), app: "h323" },
    );
    const first = call();
    const second = new Call([`${CLIENT}:40001`, `${VIP}:1721`], [`${FELLOW}:1720`, `${CLIENT}:40001`]);
    const media = (address: string, port: number) => ({
      mediaChannel: `${address}:${port}`,
      mediaControlChannel: `${address}:${port + 1}`,
    });
    const name = "empty, H.245 in a tunnel";
    expectHeard(first.say("server", h323Message(name, media(SERVER, 31_000))), name, media(VIP, 31_000));
    expectHeard(second.say("server", h323Message(name, media(FELLOW, 31_000))), name, media(VIP, 31_002));
    checkPacket(datagram(`${CLIENT}:50001`, `${VIP}:31003`).bytes, to(`${FELLOW}:31001`));
  });

  test("a gatekeeper: its own addresses in what it confirms, and the call to it", () => {
    const client = `${CLIENT}:1719`;
    const say = (text: string) =>
      String.fromCharCode(...datagram(`${SERVER}:1719`, client, text).bytes.subarray(28));
    datagram(client, `${VIP}:1719`, h323Message("gatekeeperRequest", { rasAddress: client }));
    expectHeard(
      say(h323Message("gatekeeperConfirm", { rasAddress: `${SERVER}:1719` })),
      "gatekeeperConfirm",
      {
        rasAddress: `${VIP}:1719`,
      },
    );
    // The virtual port 1720 may lead to another one.
    expectHeard(say(h323Message("admissionConfirm", { whereToCall: `${SERVER}:1720` })), "admissionConfirm", {
      whereToCall: `${VIP}:1721`,
    });
    const routed = new Call([`${CLIENT}:40000`, `${VIP}:1721`], [`${SERVER}:1720`, `${CLIENT}:40000`]);
    const setup = routed.say("client", h323Message("setup", { destCallSignalAddress: `${VIP}:1721` }));
    expectHeard(setup, "setup", { destCallSignalAddress: `${SERVER}:1720` });
    // Whom it sends elsewhere needs no help.
    const elsewhere = { whereToCall: "198.51.100.7:1720" };
    expectHeard(say(h323Message("admissionConfirm", elsewhere)), "admissionConfirm", elsewhere);
    expect(counters().foreign).toBe(0);
  });
});

describe("a host behind a masquerade rule", () => {
  beforeEach(() => {
    stage = goingOut();
  });

  test("it calls: its addresses in SETUP, the callee's H.245, media both ways", () => {
    const signalling = outgoing();
    const ends = (address: string) => ({
      sourceCallSignalAddress: `${address}:40000`,
      destCallSignalAddress: `${CLIENT}:1720`,
    });
    expectHeard(signalling.say("client", h323Message("setup", ends(SERVER))), "setup", ends(VIP));
    const answer = { h245Address: `${CLIENT}:30000` };
    expectHeard(signalling.say("server", h323Message("connect", answer)), "connect", answer);
    const control = new Call([`${SERVER}:41000`, `${CLIENT}:30000`], [`${CLIENT}:30000`, `${VIP}:41000`]);
    const media = (address: string) => ({
      mediaChannel: `${address}:31000`,
      mediaControlChannel: `${address}:31001`,
    });
    expectHeard(
      control.say("client", h323Message("openLogicalChannelAck", media(SERVER))),
      "openLogicalChannelAck",
      media(VIP),
    );
    checkPacket(datagram(`${CLIENT}:50000`, `${VIP}:31000`).bytes, valid(), to(`${SERVER}:31000`));
    checkPacket(datagram(`${SERVER}:31001`, `${CLIENT}:50001`).bytes, valid(), from(`${VIP}:31001`));
  });

  test("it registers: its gatekeeper can call it as long as it said, and until it says otherwise", () => {
    const say = (text: string) =>
      String.fromCharCode(...datagram(`${SERVER}:1719`, `${CLIENT}:1719`, text).bytes.subarray(28));
    const ends = (address: string) => ({
      ownSignalAddress: `${address}:1720`,
      rasAddress: `${address}:1719`,
    });
    expectHeard(say(h323Message("registrationRequest", ends(SERVER))), "registrationRequest", ends(VIP));
    const incoming = (port: number) =>
      new Call([`${CLIENT}:${port}`, `${VIP}:1720`], [`${SERVER}:1720`, `${CLIENT}:${port}`]);
    const setup = incoming(40_000).say(
      "client",
      h323Message("setup", { destCallSignalAddress: `${VIP}:1720` }),
    );
    expectHeard(setup, "setup", { destCallSignalAddress: `${SERVER}:1720` });
    expect(opens("198.51.100.7:40000", `${VIP}:1720`).verdict).not.toBe("to-client");
    // timeToLive is 600 s; the flow of RAS itself is long forgotten.
    stage.run(590_000);
    incoming(40_001);
    stage.run(20_000);
    expect(opens(`${CLIENT}:40002`, `${VIP}:1720`).verdict).not.toBe("to-client");
    say(h323Message("registrationRequest", ends(SERVER)));
    incoming(40_003);
    const bye = (address: string) => ({ formerSignalAddress: `${address}:1720` });
    expectHeard(say(h323Message("unregistrationRequest", bye(SERVER))), "unregistrationRequest", bye(VIP));
    expect(opens(`${CLIENT}:40004`, `${VIP}:1720`).verdict).not.toBe("to-client");
  });

  test.each([
    ["admissionRequest", "callingAddress", "1720"],
    ["infoRequestResponse", "reportedSignalAddress", "1720"],
    ["locationRequest", "rasAddress", "1719"],
  ])("%s", (name, mark, port) => {
    const ends = (address: string) => ({ [mark]: `${address}:${port}` });
    const sent = datagram(`${SERVER}:1719`, `${CLIENT}:1719`, h323Message(name, ends(SERVER)));
    expectHeard(String.fromCharCode(...sent.bytes.subarray(28)), name, ends(VIP));
  });

  test("a loopback address in front of its own (GnomeMeeting) becomes the same", () => {
    const name = "registrationRequest with everything";
    const ends = (first: string, rest: string) => ({
      ownSignalAddress: [`${first}:1720`, `${rest}:1720`, `${rest}:1720`],
      rasAddress: `${rest}:1719`,
    });
    const sent = datagram(`${SERVER}:1719`, `${CLIENT}:1719`, h323Message(name, ends("127.0.0.1", SERVER)));
    expectHeard(String.fromCharCode(...sent.bytes.subarray(28)), name, ends(VIP, VIP));
  });
});

test("FullNAT: the caller's address in what it says becomes the pool's", () => {
  stage = served({ ...H323, fullNat: { sources: ["172.16.0.250"], clients: "all" } });
  const signalling = new Call([`${CLIENT}:40000`, `${VIP}:1720`], [`${SERVER}:1720`, "172.16.0.250:40000"]);
  const ends = (source: string, target: string) => ({
    sourceCallSignalAddress: `${source}:40000`,
    destCallSignalAddress: `${target}:1720`,
  });
  const heard = signalling.say("client", h323Message("setup", ends(CLIENT, VIP)));
  expectHeard(heard, "setup", ends("172.16.0.250", SERVER));
});

test.each(["peer", "anyone"] as const)(
  "FullNAT, callers: %s may call an endpoint that has registered",
  (callers) => {
    stage = served({
      ...RAS,
      appOptions: { callers },
      fullNat: { sources: ["172.16.0.250"], clients: "all" },
    });
    const ends = (address: string, port: number) => ({
      ownSignalAddress: `${address}:1720`,
      rasAddress: `${address}:${port}`,
    });
    const sent = datagram(
      `${CLIENT}:1719`,
      `${VIP}:1719`,
      h323Message("registrationRequest", ends(CLIENT, 1719)),
    );
    expectHeard(
      String.fromCharCode(...sent.bytes.subarray(28)),
      "registrationRequest",
      ends("172.16.0.250", 1719),
    );
    expect(opens(`${SERVER}:40000`, "172.16.0.250:1720").verdict).toBe("to-client");
    const isLetIn = opens("172.16.0.9:40000", "172.16.0.250:1720").verdict === "to-client";
    expect(isLetIn).toBe(callers === "anyone");
  },
);

describe("refused", () => {
  beforeEach(() => {
    stage = served();
  });

  test.each([
    ["another host's address", `${"172.16.0.77"}:30000`, "foreign"],
    ["a low port", `${SERVER}:22`, "lowPort"],
  ] as const)("h245Address with %s", (_, end, counter) => {
    const heard = call().say("server", h323Message("connect", { h245Address: end }));
    expectHeard(heard, "connect", { h245Address: end });
    expect(counters()).toMatchObject({ [counter]: 1, announced: 0 });
    expect(opens(`${CLIENT}:41000`, `${VIP}:${end.split(":")[1]}`).verdict).not.toBe("to-server");
  });

  test("media of a third host, by the caller (bounce)", () => {
    const ends = { mediaChannel: "198.51.100.7:50000", mediaControlChannel: "198.51.100.7:50001" };
    call().say("client", h323Message("empty, H.245 in a tunnel", ends));
    expect(counters()).toMatchObject({ foreign: 2, announced: 0 });
  });

  test("a flood of announcements: no more wait than may", () => {
    const signalling = call();
    for (let port = 20_000; port < 20_400; port += 2)
      signalling.say(
        "server",
        h323Message("information with fastStart", {
          mediaChannel: `${SERVER}:${port}`,
          mediaControlChannel: `${SERVER}:${port + 1}`,
        }),
      );
    const waiting = stage.connections().filter(({ protocol }) => protocol === "udp");
    expect(waiting.length).toBeLessThanOrEqual(h323.expectationsMax);
  });

  test.each([
    [
      "a request of HTTP with a message in it",
      `GET / HTTP/1.1\r\n\r\n${h323Message("connect", { h245Address: `${SERVER}:30000` })}`,
    ],
    ["a TPKT that is shorter than its header", "\x03\0\0\x03\x08\x02"],
    ["no Q.931", tpkt(`\x09${h323Message("connect", { h245Address: `${SERVER}:30000` }).slice(5)}`)],
    ["an element beyond the end", tpkt("\x08\x02\0\x01\x07\x7e\xff\xff\x05\x22")],
    ["a call reference beyond the end", tpkt("\x08\x0f")],
    ["elements without an end", tpkt(`\x08\x02\0\x01\x07${"\x28\xff".repeat(30)}`)],
    ["an empty TPKT", tpkt("")],
  ])("%s: passes as it is, and nobody is let in", (_, text) => {
    expect(call().say("server", text)).toBe(text);
    expect(counters()).toMatchObject({ announced: 0, rewritten: 0, failed: 0 });
  });
});

// Whole dialogues, on any network

const media = (address: string, port = 31_000) => ({
  mediaChannel: `${address}:${port}`,
  mediaControlChannel: `${address}:${port + 1}`,
});
const served1720 = (own: string, shown: string): Place["said"] => [
  ["client", h323Message("setup with parallel H.245", media(CLIENT, 50_000)) + tpkt("")],
  [
    "server",
    h323Message("callProceeding", { h245Address: `${own}:30000` }),
    h323Message("callProceeding", { h245Address: `${shown}:30000` }),
  ],
  [
    "client",
    h323Message("setup", { destCallSignalAddress: `${shown}:1720` }),
    h323Message("setup", { destCallSignalAddress: `${own}:1720` }),
  ],
  [
    "server",
    h323Message("connect with fastStart", media(own)),
    h323Message("connect with fastStart", media(shown)),
  ],
  [
    "server",
    h323Message("facility, callForwarded", { alternativeAddress: `${own}:1722` }),
    h323Message("facility, callForwarded", { alternativeAddress: `${shown}:1722` }),
  ],
  ["client", h323Message("releaseComplete")],
];
const said = (name: string, own: Ends, shown: Ends): ["client", string, string] => [
  "client",
  h323Message(name, own),
  h323Message(name, shown),
];

describeModule(h323, {
  runs: 20,
  places: [
    {
      name: "a callee behind the director",
      stage: () => served(),
      outside: [`${CLIENT}:34000`, `${VIP}:1720`],
      inside: [`${CLIENT}:34000`, `${SERVER}:1720`],
      said: served1720(SERVER, VIP),
    },
    {
      name: "one of IPv6",
      stage: () =>
        new Stage([
          { ...service("tcp", "2001:db8:5::5", 1720, "rr", destination("fd00:16::3", 1720)), app: "h323" },
        ]),
      outside: ["[2001:db8:1::2]:34000", "[2001:db8:5::5]:1720"],
      inside: ["[2001:db8:1::2]:34000", "[fd00:16::3]:1720"],
      said: [
        said(
          "setup, IPv6",
          {
            destCallSignalAddress: "[2001:db8:5::5]:1720",
            ...media("[2001:db8:1::2]"),
            h245Address: "[2001:db8:1::2]:30000",
          },
          {
            destCallSignalAddress: "[fd00:16::3]:1720",
            ...media("[2001:db8:1::2]"),
            h245Address: "[2001:db8:1::2]:30000",
          },
        ),
      ],
    },
    {
      name: "a caller that goes out",
      stage: goingOut,
      outside: [`${SERVER}:34000`, `${CLIENT}:1720`],
      inside: [`${VIP}:34000`, `${CLIENT}:1720`],
      said: [
        said(
          "setup",
          { sourceCallSignalAddress: `${SERVER}:34000` },
          { sourceCallSignalAddress: `${VIP}:34000` },
        ),
        said("setup with parallel H.245", media(SERVER), media(VIP)),
        ["server", h323Message("connect", { h245Address: `${CLIENT}:30000` })],
      ],
    },
    {
      name: "an endpoint that registers",
      transport: "udp",
      stage: goingOut,
      outside: [`${SERVER}:1719`, `${CLIENT}:1719`],
      inside: [`${VIP}:1719`, `${CLIENT}:1719`],
      said: [
        said("gatekeeperRequest", { rasAddress: `${SERVER}:1719` }, { rasAddress: `${VIP}:1719` }),
        ["server", h323Message("gatekeeperConfirm", { rasAddress: `${CLIENT}:1719` })],
        said(
          "registrationRequest",
          { ownSignalAddress: `${SERVER}:1720`, rasAddress: `${SERVER}:1719` },
          { ownSignalAddress: `${VIP}:1720`, rasAddress: `${VIP}:1719` },
        ),
        ["server", h323Message("registrationConfirm", { ownSignalAddress: `${CLIENT}:1720` })],
        said("admissionRequest", { callingAddress: `${SERVER}:1720` }, { callingAddress: `${VIP}:1720` }),
        ["server", h323Message("admissionConfirm", { whereToCall: `${CLIENT}:1720` })],
        said(
          "unregistrationRequest",
          { formerSignalAddress: `${SERVER}:1720` },
          { formerSignalAddress: `${VIP}:1720` },
        ),
      ],
    },
  ],
});

describeModule(h245, {
  runs: 20,
  places: [
    {
      name: "on a service of its own",
      stage: () =>
        new Stage([{ ...service("tcp", VIP, 30_000, "rr", destination(SERVER, 30_000)), app: "h245" }]),
      outside: [`${CLIENT}:34000`, `${VIP}:30000`],
      inside: [`${CLIENT}:34000`, `${SERVER}:30000`],
      said: [
        ["client", h323Message("terminalCapabilitySet") + h323Message("masterSlaveDetermination")],
        ["client", h323Message("openLogicalChannel", media(CLIENT, 50_000))],
        [
          "server",
          h323Message("openLogicalChannelAck", media(SERVER)),
          h323Message("openLogicalChannelAck", media(VIP)),
        ],
        [
          "server",
          h323Message("openLogicalChannel, T.84", media(SERVER)),
          h323Message("openLogicalChannel, T.84", media(VIP)),
        ],
        [
          "server",
          h323Message("openLogicalChannel, T.120", { separateStack: `${SERVER}:1503` }),
          h323Message("openLogicalChannel, T.120", { separateStack: `${VIP}:1503` }),
        ],
        ["client", h323Message("endSessionCommand")],
      ],
    },
  ],
});

/**
 * A connection with an application module, played at a director: what one side says, and what the other hears. In one of the
 * situations there are: the server behind a virtual address; the client behind a masquerade rule; both hidden (FullNAT).
 */
import { opposite, type Side } from "../../src/alg/engine/module.ts";
import type { ApplicationOptions, ServiceConfig } from "../../src/nat/configuration.ts";
import { bracketed } from "../../src/wire/address.ts";
import { tcp, udp } from "./packet-builder.ts";
import { checkPacket, from, readFacts, to, valid } from "./packet-check.ts";
import { destination, service } from "./replayed.ts";
import { type Sent, Stage } from "./stage.ts";
import type { Place } from "./story.ts";

export type Situation = "service" | "masquerade" | "fullNat";

/** Who is who: own addresses of client and server, and what is shown of whoever is hidden. */
export const HOSTS = {
  4: { outside: "202.100.1.2", shown: "202.103.106.5", inside: "172.16.0.3", pool: "172.16.0.250" },
  6: { outside: "2001:db8:1::2", shown: "2001:db8:5::5", inside: "fd00:16::3", pool: "fd00:16::fa" },
} as const;

export interface ConversationOptions {
  readonly situation?: Situation;
  readonly transport?: "tcp" | "udp";
  readonly family?: 4 | 6;
  /** Of the client, and of the server as it sees itself and as it is shown. */
  readonly clientPort?: number;
  readonly serverPort?: number;
  readonly virtualPort?: number;
  readonly options?: ApplicationOptions;
  /** Nobody has said anything yet: there is no connection. */
  readonly isSilent?: boolean;
}

export class Conversation {
  readonly stage: Stage;
  readonly situation: Situation;
  /** All that arrived, as it did. */
  readonly packets: Uint8Array[] = [];
  readonly transport: "tcp" | "udp";
  /** What each side is, and what the other one knows it by. */
  readonly own: Record<Side, string>;
  readonly shown: Record<Side, string>;
  readonly ownPort: Record<Side, number>;
  readonly shownPort: Record<Side, number>;
  /** Next sequence numbers, as their senders count them, and as the others do. */
  readonly #next: Record<Side, number> = { client: 1000, server: 5000 };
  readonly #heard: Record<Side, number> = { client: 1000, server: 5000 };

  constructor(app: string, options: ConversationOptions = {}) {
    const { situation = "service", transport = "tcp", family = 4, virtualPort = 5060 } = options;
    const { clientPort = 34_000, serverPort = virtualPort } = options;
    const hosts = HOSTS[family];
    this.situation = situation;
    this.transport = transport;
    const isOut = situation === "masquerade";
    this.own = isOut
      ? { client: hosts.inside, server: hosts.outside }
      : { client: hosts.outside, server: hosts.inside };
    this.shown = isOut
      ? { client: hosts.shown, server: hosts.outside }
      : { client: situation === "fullNat" ? hosts.pool : hosts.outside, server: hosts.shown };
    this.ownPort = { client: clientPort, server: serverPort };
    this.shownPort = { client: clientPort, server: virtualPort };
    if (isOut) {
      this.shownPort.server = serverPort;
      this.stage = new Stage([]);
      const prefix = family === 4 ? "172.16.0.0/24" : "fd00:16::/64";
      this.stage.apply([], { masquerade: [{ from: [prefix], sources: [hosts.shown], apps: [app] }] });
    } else {
      const config: ServiceConfig = {
        ...service(transport, hosts.shown, virtualPort, "rr", destination(hosts.inside, serverPort)),
        app,
        ...(options.options !== undefined && { appOptions: options.options }),
        ...(situation === "fullNat" && { fullNat: { sources: [hosts.pool], clients: "all" } }),
      };
      this.stage = new Stage([config]);
    }
    if (options.isSilent === true) return;
    if (transport === "tcp") this.#connect();
    else this.#send("client", "", "");
  }

  /** For the suite of every module: what is said, and what is heard where that is something else. */
  static place(name: string, app: string, options: ConversationOptions, said: Place["said"]): Place {
    const one = new Conversation(app, options);
    return {
      name,
      transport: one.transport,
      stage: () => new Conversation(app, { ...options, isSilent: true }).stage,
      outside: [one.#at("client", "own"), one.#at("server", "shown")],
      inside: [one.#at("client", "shown"), one.#at("server", "own")],
      said,
    };
  }

  /** @returns what the other side hears */
  client(text: string): string {
    return this.say("client", text);
  }

  server(text: string): string {
    return this.say("server", text);
  }

  say(side: Side, text: string): string {
    const other = opposite(side);
    const sent = this.#send(side, text, "PA");
    checkPacket(sent.bytes, valid(), from(this.#at(side, "shown")), to(this.#at(other, "own")));
    const heard = textOf(sent.bytes);
    this.#next[side] += text.length;
    this.#heard[side] += heard.length;
    return heard;
  }

  /** A datagram of another flow: where it goes and whom it comes from then; undefined: nobody gets it. */
  datagram(source: string, target: string): { from: string; to: string } | undefined {
    return this.#passage(udp({ from: source, to: target, payload: "RTP" }));
  }

  /** Likewise the first segment of a connection. */
  opening(source: string, target: string): { from: string; to: string } | undefined {
    return this.#passage(tcp({ from: source, to: target, flags: "S" }));
  }

  get counters(): Readonly<Record<string, number>> {
    const { applications } = this.stage.control.status();
    const totals: Record<string, number> = {};
    for (const { counters } of applications)
      for (const [name, count] of Object.entries(counters)) totals[name] = (totals[name] ?? 0) + count;
    return totals;
  }

  #connect(): void {
    this.#send("client", "", "S");
    this.#next.client++;
    this.#heard.client++;
    this.#send("server", "", "SA");
    this.#next.server++;
    this.#heard.server++;
    this.#send("client", "", "A");
  }

  #send(side: Side, payload: string, flags: string): Sent {
    const other = opposite(side);
    const addresses = { from: this.#at(side, "own"), to: this.#at(other, "shown") };
    const numbers = { seq: this.#next[side], ack: flags === "S" ? 0 : this.#heard[other] };
    const bytes =
      this.transport === "udp"
        ? udp({ ...addresses, payload })
        : tcp({ ...addresses, ...numbers, flags, payload });
    const sent = this.stage.send(bytes);
    if (payload !== "") this.packets.push(sent.bytes);
    return sent;
  }

  #at(side: Side, kind: "own" | "shown"): string {
    const port = kind === "own" ? this.ownPort[side] : this.shownPort[side];
    return `${bracketed(this[kind][side])}:${port}`;
  }

  #passage(bytes: Uint8Array): { from: string; to: string } | undefined {
    const sent = this.stage.send(bytes);
    if (sent.verdict !== "to-server" && sent.verdict !== "to-client") return undefined;
    checkPacket(sent.bytes, valid());
    const facts = readFacts(sent.bytes);
    if (typeof facts === "string") throw new Error(facts);
    const { view, at, source, destination } = facts;
    return {
      from: `${bracketed(source)}:${view.getUint16(at)}`,
      to: `${bracketed(destination)}:${view.getUint16(at + 2)}`,
    };
  }
}

function textOf(bytes: Uint8Array): string {
  const isSix = bytes[0]! >> 4 === 6;
  const at = isSix ? 40 : (bytes[0]! & 15) * 4;
  const isTcp = bytes[isSix ? 6 : 9] === 6;
  return Buffer.from(bytes.subarray(at + (isTcp ? (bytes[at + 12]! >> 4) * 4 : 8))).toString("latin1");
}

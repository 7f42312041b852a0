/**
 * Stories about the director as text, in the manner of packetdrill: who sends what, and what must come of it.
 *
 *     # A comment. The first paragraph tells what the story is about.
 *     set removal drop                          a setting of the director or, by its kernel's name, of IPVS; at any time
 *     service tcp 202.103.106.5:80 wrr persist=60/255.255.255.0 172.16.0.2:80*1 172.16.0.3:8000*2<3/2
 *                                               again: the same service anew, edited. Ports may be 8000-8010 or 0. After a
 *                                               server its weight, upper and lower threshold; attributes: service-words.ts
 *     service mark 7 rr 172.16.0.2:0            of packets with a mark; mark6: of IPv6
 *     no service tcp 202.103.106.5:80           likewise "no mark", "no masquerade": of all of them
 *     mark 7 tcp 202.103.106.5/32 80-90         packets to there get a mark
 *     masquerade 172.16.0.0/24 as 198.51.100.1 40000-40999
 *     mtu 172.16.0.2 1280                       largest packet towards a server
 *     own 172.16.0.1                            the director's own address, for errors to servers
 *     +0      client S 202.100.1.2:3456 > 202.103.106.5:80    to-server 202.100.1.2:3456 > 172.16.0.3:8000
 *     +0.02   server SA 172.16.0.3:8000 > 202.100.1.2:3456    to-client 202.103.106.5:80 > 202.100.1.2:3456
 *     +60     udp 10 1.2.3.4:5 > 202.103.106.5:53             drop no-service
 *     +60     time passes
 *     about A 202.103.106.5:80 > 202.100.1.2:9  what the next error is about, though nobody sent it
 *     state 202.100.1.2:3456 ESTABLISHED 900    seconds it has left; "none": there is no such connection. A template has
 *                                               its client network and port 0. "on 172.16.0.3:0" adds its server
 *     load 172.16.0.3:8000 1 0 1                active and inactive connections, and templates if there may be any
 *
 * Time is seconds since the line before; time that passes runs the timers. A segment is TCP flags or "-" for none, "udp
 * BYTES", "sip CALL-ID", "sctp CHUNK", "echo", "echo-reply", or "error KIND" (unreachable, too-big, expired) about the
 * packet that left last; `client` and `server` are for the reader. Options: ttl=N, df, of TCP seq=N, ack=N and len=N bytes
 * of data, of echo id=N. What is expected is a verdict, and of a packet that leaves its ends and, if given, the same numbers;
 * header=CLIENT is a PROXY header that names this client. Port "*" is any, and afterwards the one it was. An answer in
 * brackets says of which kind: [R], [RA], [unreachable], [too-big 1280], [expired], [echo]; of an error that passes,
 * "quoting" says the ends of the packet in it.
 */
import { expect } from "vitest";
import type {
  DirectorSettings,
  MarkRule,
  MasqueradeRule,
  ServiceConfig,
} from "../../src/nat/configuration.ts";
import { type Address, formatAddress, parseAddress } from "../../src/wire/address.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { census } from "../support/census.ts";
import { bytes, echo, icmp, sctp, tcp, udp } from "../support/packet-builder.ts";
import {
  checkPacket,
  from,
  icmpRest,
  icmpType,
  type PacketCheck,
  type PacketFacts,
  quoting,
  tcpAcknowledgment,
  tcpFlags,
  tcpSequence,
  to,
  ttl,
  valid,
} from "../support/packet-check.ts";
import { IPVS_SETTINGS } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";
import { parseKey, parseMark, parseMasquerade, parseService, split } from "./service-words.ts";

const ERRORS = { unreachable: [3, 3, 1, 4], "too-big": [3, 4, 2, 0], expired: [11, 0, 3, 0] } as const;
type ErrorName = keyof typeof ERRORS;

const OPTION = /^(?:df|(?:ttl|seq|ack|len|id)=\d+)$/;
/** What a PROXY header of version 2 over IPv4 begins with, and where in it the client's address and port are. */
const PROXY_SIGNATURE = "\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c";
const PROXY_CLIENT_AT = 16;
const PROXY_CLIENT_PORT_AT = 24;

/** Play a story. @throws at the first line that does not come true, with its number */
export function play(text: string): void {
  const story = new Story();
  for (const [index, line] of text.split("\n").entries()) {
    const words = line.replace(/#.*/, "").trim().split(/\s+/);
    if (words[0] === "") continue;
    try {
      story.line(words);
    } catch (error) {
      throw new Error(`line ${index + 1}, "${line.trim()}": ${(error as Error).message}`);
    }
    expect(census(story.stage.director), `census after line ${index + 1}`).toEqual([]);
  }
}

class Story {
  #settings: DirectorSettings = IPVS_SETTINGS;
  readonly #services = new Map<string, ServiceConfig>();
  readonly #marks: MarkRule[] = [];
  readonly #masquerade: MasqueradeRule[] = [];
  #stage: Stage | undefined;
  /** The packet that left last, for errors about it. */
  #last: Uint8Array = new Uint8Array(0);
  /** What "*" stands for. */
  #port = "";

  get stage(): Stage {
    this.#stage ??= new Stage([], this.#settings);
    return this.#stage;
  }

  line(words: readonly string[]): void {
    const [verb, ...rest] = words;
    if (verb === "set") this.#set(rest[0]!, Number.isNaN(Number(rest[1])) ? rest[1]! : Number(rest[1]));
    else if (verb === "service") this.#serve(rest);
    else if (verb === "no") this.#end(rest);
    else if (verb === "mark") this.#apply(() => this.#marks.push(parseMark(rest)));
    else if (verb === "masquerade") this.#apply(() => this.#masquerade.push(parseMasquerade(rest)));
    else if (verb === "mtu") this.stage.control.setMtu(rest[0]!, Number(rest[1]));
    else if (verb === "own") this.#own(parseAddress(rest[0]!)!);
    else if (verb === "about") this.#last = this.#build(rest.slice(0, -3), endsOf(rest.slice(-3)), []);
    else if (verb === "state") this.#state(rest);
    else if (verb === "load") this.#load(rest);
    else if (verb!.startsWith("+")) this.#packet(Number(verb!.slice(1)), rest);
    else throw new Error(`no such verb: ${verb}`);
  }

  #set(name: string, value: string | number): void {
    const { ipvs } = this.#settings;
    const change = name in ipvs ? { ipvs: { ...ipvs, [name]: value } } : { [name]: value };
    this.#settings = { ...this.#settings, ...change };
    // What is set first of all may be the size of a table.
    if (this.#stage !== undefined) this.#apply(() => {});
  }

  #serve(words: readonly string[]): void {
    this.#apply(() => this.#services.set(JSON.stringify(parseKey(words)), parseService(words)));
  }

  #end([kind, ...words]: readonly string[]): void {
    if (kind === "masquerade") this.#masquerade.length = 0;
    else if (kind === "mark") this.#marks.length = 0;
    else if (kind !== "service" || !this.#services.delete(JSON.stringify(parseKey(words))))
      throw new Error(`nothing to end: ${kind} ${words.join(" ")}`);
    this.#apply(() => {});
  }

  #apply(change: () => void): void {
    change();
    const rest = { settings: this.#settings, marks: this.#marks, masquerade: this.#masquerade };
    this.stage.apply([...this.#services.values()], rest);
  }

  #own({ family, words }: Address): void {
    this.stage.director.ownAddress[family] = words;
  }

  #state([client, state, expires, , server]: readonly string[]): void {
    const [address, port] = split(client!);
    const found = this.stage
      .connections()
      // A template that nothing finds any more has an impossible port.
      .find((one) => one.client.address === address && one.client.port === port && one.virtual.port < 65_535);
    expect(found?.state ?? "none").toBe(state);
    if (expires !== undefined) expect(found!.expiresSeconds).toBe(Number(expires));
    if (server === undefined) return;
    const [serverAddress, serverPort] = split(server);
    expect(found!.destination).toEqual({ address: serverAddress, port: serverPort });
  }

  #load([server, ...wanted]: readonly string[]): void {
    const [address, port] = split(server!);
    const list = [...this.stage.director.services.destinations()];
    const found = list.find((one) => one.address === address && one.port === port)!;
    const counts = [found.activeConnections, found.inactiveConnections, found.persistentConnections];
    expect(counts.slice(0, wanted.length)).toEqual(wanted.map(Number));
  }

  #packet(waitSeconds: number, words: readonly string[]): void {
    if (waitSeconds > 0) this.stage.run(waitSeconds * 1000);
    if (words[0] === "time") return;
    const rest = words.filter((word) => word !== "client" && word !== "server");
    const arrow = rest.indexOf(">");
    const ends = endsOf(rest.slice(arrow - 1).map((word) => word.replace(":*", `:${this.#port}`)));
    const verdictAt = rest.findIndex((word, at) => at > arrow + 1 && !OPTION.test(word));
    const options = rest.slice(arrow + 2, verdictAt);
    const expected = rest.slice(verdictAt);
    const sent = this.stage.send(this.#build(rest.slice(0, arrow - 1), ends, options));
    const kind = expected[0] === "drop" ? `drop ${expected[1]}` : expected[0];
    expect(sent.verdict, sent.bytes.length > 0 ? formatPacket(sent.bytes) : "nothing left").toBe(kind);
    if (sent.out.length === 0) return;
    this.#last = sent.bytes;
    checkPacket(sent.bytes, valid(), ...this.#checks(expected.slice(1), sent.verdict, ends));
  }

  #build([kind, argument]: readonly string[], ends: Ends, options: readonly string[]): Uint8Array {
    const { ttl = 64, seq = 1, ack = 0, len = 0, id = 1 } = numbersOf(options);
    const fields = { ...ends, ttl, dontFragment: options.includes("df") };
    if (kind === "udp") return udp({ ...fields, payload: bytes(Number(argument)) });
    if (kind === "sip") return udp({ ...fields, payload: sipRequest(argument!) });
    if (kind === "sctp") return sctp({ ...fields, chunks: [{ type: Number(argument) }] });
    if (kind === "echo" || kind === "echo-reply")
      return echo({ ...fields, id, isReply: kind === "echo-reply" });
    if (kind !== "error")
      return tcp({ ...fields, flags: kind === "-" ? "" : kind!, seq, ack, payload: bytes(len) });
    const [type4, code4, type6, code6] = ERRORS[argument as ErrorName];
    const [type, code] = fields.from.includes(".") ? [type4, code4] : [type6, code6];
    return icmp({ ...fields, type, code, rest: argument === "too-big" ? 1280 : 0, payload: this.#last });
  }

  #checks(words: readonly string[], verdict: string, ends: Ends): PacketCheck[] {
    const checks = numberChecks(words);
    const arrow = words.indexOf(">");
    if (arrow > 0 && words[arrow - 2] !== "quoting") checks.push(...this.#ends(words.slice(arrow - 1)));
    const quoteAt = words.indexOf("quoting") + 1;
    if (quoteAt > 0) checks.push(quoting(...this.#ends(words.slice(quoteAt))));
    const [, answer, mtu] = /\[([A-Za-z-]+)(?: (\d+))?\]/.exec(words.join(" ")) ?? [];
    if (verdict === "reply" && answer === undefined) throw new Error("an answer of which kind?");
    if (answer === undefined || answer === "echo") return checks;
    if (!(answer in ERRORS)) return [...checks, tcpFlags(answer), from(ends.to), to(ends.from)];
    const [type4, code4, type6, code6] = ERRORS[answer as ErrorName];
    checks.push(ends.to.includes(".") ? icmpType(type4, code4) : icmpType(type6, code6));
    if (mtu !== undefined) checks.push(icmpRest(Number(mtu)));
    // Whoever gets an error of the director's own sees its own packet in it.
    return verdict === "reply" ? [...checks, quoting(from(ends.from), to(ends.to))] : checks;
  }

  /** Checks of "FROM > TO", where a port may be any. */
  #ends([source, , target]: readonly string[]): PacketCheck[] {
    const [isFrom, isTo] = [source!, target!].map((end, index) => {
      const check = index === 0 ? from : to;
      if (!end.endsWith(":*")) return check(end);
      return (facts: PacketFacts) => {
        this.#port = String(facts.view.getUint16(facts.at + index * 2));
        return check(end.replace("*", this.#port))(facts);
      };
    });
    return [isFrom!, isTo!];
  }
}

interface Ends {
  readonly from: string;
  readonly to: string;
}

const endsOf = ([from, , to]: readonly string[]): Ends => ({ from: from!, to: to! });

/** "seq=1" and the like, by name. */
function numbersOf(words: readonly string[]): Record<string, number> {
  const pairs = words.filter((word) => /^\w+=\d+$/.test(word)).map((word) => word.split("="));
  return Object.fromEntries(pairs.map(([name, value]) => [name, Number(value)]));
}

function numberChecks(words: readonly string[]): PacketCheck[] {
  const { ttl: hops, seq, ack, len, id } = numbersOf(words);
  const checks: PacketCheck[] = [];
  if (hops !== undefined) checks.push(ttl(hops));
  if (seq !== undefined) checks.push(tcpSequence(seq));
  if (ack !== undefined) checks.push(tcpAcknowledgment(ack));
  if (len !== undefined) checks.push((facts) => differs("data", dataOf(facts).byteLength, len));
  if (id !== undefined) checks.push(({ view, at }) => differs("identifier", view.getUint16(at + 4), id));
  const client = words.find((word) => word.startsWith("header="));
  if (client !== undefined) checks.push((facts) => differs("PROXY header", clientIn(dataOf(facts)), client));
  return checks;
}

const differs = (what: string, found: unknown, wanted: unknown): string | undefined =>
  found === wanted ? undefined : `${what}: ${found}, wanted ${wanted}`;

/** What a TCP segment carries. */
function dataOf({ view, at, end, bytes }: PacketFacts): DataView {
  const dataAt = at + (view.getUint8(at + 12) >> 4) * 4;
  return new DataView(bytes.buffer, bytes.byteOffset + dataAt, end - dataAt);
}

/** The client that a PROXY header names, as it is asked for. */
function clientIn(data: DataView): string {
  const text = String.fromCharCode(...new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  if (!text.startsWith(PROXY_SIGNATURE)) return "none";
  const address = formatAddress(4, [data.getInt32(PROXY_CLIENT_AT)]);
  return `header=${address}:${data.getUint16(PROXY_CLIENT_PORT_AT)}`;
}

const sipRequest = (callId: string): string =>
  `INVITE sip:service@example.org SIP/2.0\r\nCall-ID: ${callId}\r\nCSeq: 1 INVITE\r\n\r\n`;

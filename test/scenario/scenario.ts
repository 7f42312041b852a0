/**
 * Stories about the director as text, in the manner of packetdrill: who sends what, and what must come of it.
 *
 *     # A comment. The first paragraph tells what the story is about.
 *     set removal drop                          a setting of the director
 *     service tcp 202.103.106.5:80 wrr 172.16.0.2:80*1 172.16.0.3:8000*2     again: the same service anew, edited
 *     no service tcp 202.103.106.5:80
 *     mtu 172.16.0.2 1280
 *     +0      client S 202.100.1.2:3456 > 202.103.106.5:80    to-server 202.100.1.2:3456 > 172.16.0.3:8000
 *     +0.02   server SA 172.16.0.3:8000 > 202.100.1.2:3456    to-client 202.103.106.5:80 > 202.100.1.2:3456
 *     +60     udp 10 1.2.3.4:5 > 202.103.106.5:53             drop no-service
 *     state 202.100.1.2:3456 ESTABLISHED 900                  seconds it has left; "none": there is no such connection
 *     load 172.16.0.3:8000 1 0                                active and inactive connections
 *
 * Time is seconds since the line before; time that passes runs the timers. A segment is TCP flags or "-" for none, "udp
 * BYTES", "sctp CHUNK", "echo", or "error KIND" (unreachable, too-big, expired) about the packet that left last; `client`
 * and `server` are for the reader. Options: ttl=N, df. What is expected is a verdict, and of a packet that leaves its ends;
 * an answer in brackets says of which kind: [R], [RA], [unreachable], [too-big 1280], [expired], [echo].
 */
import { expect } from "vitest";
import type { DestinationConfig, ServiceConfig, ServiceProtocol } from "../../src/nat/configuration.ts";
import { parseEndpoint } from "../../src/wire/address.ts";
import { formatPacket } from "../../src/wire/text.ts";
import { census } from "../support/census.ts";
import { bytes, echo, icmp, sctp, tcp, udp } from "../support/packet-builder.ts";
import {
  checkPacket,
  from,
  icmpRest,
  icmpType,
  type PacketCheck,
  quoting,
  tcpFlags,
  to,
  valid,
} from "../support/packet-check.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage, type StageOptions } from "../support/stage.ts";

const ERRORS = { unreachable: [3, 3, 1, 4], "too-big": [3, 4, 2, 0], expired: [11, 0, 3, 0] } as const;
type ErrorName = keyof typeof ERRORS;

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
  readonly #settings: Record<string, unknown> = {};
  readonly #services = new Map<string, ServiceConfig>();
  #stage: Stage | undefined;
  /** The packet that left last, for errors about it. */
  #last: Uint8Array = new Uint8Array(0);

  get stage(): Stage {
    this.#stage ??= new Stage([], this.#settings as StageOptions);
    return this.#stage;
  }

  line(words: readonly string[]): void {
    const [verb, ...rest] = words;
    if (verb === "set") this.#settings[rest[0]!] = Number.isNaN(Number(rest[1])) ? rest[1] : Number(rest[1]);
    else if (verb === "service" || verb === "no")
      this.#configure(verb === "no" ? rest.slice(1) : rest, verb === "service");
    else if (verb === "mtu") this.stage.control.setMtu(rest[0]!, Number(rest[1]));
    else if (verb === "state") this.#state(rest);
    else if (verb === "load") this.#load(rest);
    else if (verb!.startsWith("+")) this.#packet(Number(verb!.slice(1)), rest);
    else throw new Error(`no such verb: ${verb}`);
  }

  #configure([protocol, listen, scheduler, ...servers]: readonly string[], isWanted: boolean): void {
    const [address, port] = split(listen!);
    const key = `${protocol} ${listen}`;
    if (isWanted) {
      const list = servers.map((text): DestinationConfig => {
        const [, end, weight = "1", upper = "0"] = /^(.*?)(?:\*(\d+))?(?:<(\d+))?$/.exec(text)!;
        return destination(...split(end!), Number(weight), Number(upper));
      });
      this.#services.set(key, service(protocol as ServiceProtocol, address, port, scheduler!, ...list));
    } else this.#services.delete(key);
    this.stage.apply([...this.#services.values()]);
  }

  #state([client, state, expires]: readonly string[]): void {
    const [address, port] = split(client!);
    const found = this.stage
      .connections()
      .find((one) => one.client.address === address && one.client.port === port);
    expect(found?.state ?? "none").toBe(state);
    if (expires !== undefined) expect(found!.expiresSeconds).toBe(Number(expires));
  }

  #load([server, active, inactive]: readonly string[]): void {
    const [address, port] = split(server!);
    const list = [...this.stage.director.services.destinations()];
    const found = list.find((one) => one.address === address && one.port === port)!;
    expect([found.activeConnections, found.inactiveConnections]).toEqual([Number(active), Number(inactive)]);
  }

  #packet(waitSeconds: number, words: readonly string[]): void {
    if (waitSeconds > 0) this.stage.run(waitSeconds * 1000);
    const rest = words.filter((word) => word !== "client" && word !== "server");
    const arrow = rest.indexOf(">");
    const options = rest.slice(arrow + 2).filter((word) => /^(ttl=\d+|df)$/.test(word));
    const expected = rest.slice(arrow + 2).filter((word) => !options.includes(word));
    const ends = { from: rest[arrow - 1]!, to: rest[arrow + 1]! };
    const ttl = Number(options.find((word) => word.startsWith("ttl="))?.slice(4) ?? 64);
    const fields = { ...ends, ttl, dontFragment: options.includes("df") };
    const sent = this.stage.send(this.#build(rest.slice(0, arrow - 1), fields));
    const kind = expected[0] === "drop" ? `drop ${expected[1]}` : expected[0];
    expect(sent.verdict, sent.bytes.length > 0 ? formatPacket(sent.bytes) : "nothing left").toBe(kind);
    if (sent.out.length === 0) return;
    this.#last = sent.bytes;
    checkPacket(sent.bytes, valid(), ...this.#checks(expected.slice(1), sent.verdict, ends));
  }

  #build(
    [kind, argument]: readonly string[],
    fields: { from: string; to: string; ttl: number; dontFragment: boolean },
  ): Uint8Array {
    if (kind === "udp") return udp({ ...fields, payload: bytes(Number(argument)) });
    if (kind === "sctp") return sctp({ ...fields, chunks: [{ type: Number(argument) }] });
    if (kind === "echo") return echo(fields);
    if (kind !== "error") return tcp({ ...fields, flags: kind === "-" ? "" : kind! });
    const [type4, code4, type6, code6] = ERRORS[argument as ErrorName];
    const [type, code] = fields.from.includes(".") ? [type4, code4] : [type6, code6];
    return icmp({ ...fields, type, code, rest: argument === "too-big" ? 1280 : 0, payload: this.#last });
  }

  #checks(words: readonly string[], verdict: string, ends: { from: string; to: string }): PacketCheck[] {
    const checks: PacketCheck[] = [];
    const arrow = words.indexOf(">");
    if (arrow > 0) checks.push(from(words[arrow - 1]!), to(words[arrow + 1]!));
    const [, answer, mtu] = /\[([A-Za-z-]+)(?: (\d+))?\]$/.exec(words.join(" ")) ?? [];
    if (verdict === "reply" && answer === undefined) throw new Error("an answer of which kind?");
    if (answer === undefined || answer === "echo") return checks;
    if (!(answer in ERRORS)) return [...checks, tcpFlags(answer), from(ends.to), to(ends.from)];
    const [type4, code4, type6, code6] = ERRORS[answer as ErrorName];
    checks.push(ends.to.includes(".") ? icmpType(type4, code4) : icmpType(type6, code6));
    if (mtu !== undefined) checks.push(icmpRest(Number(mtu)));
    // Whoever gets an error of the director's own sees its own packet in it.
    return verdict === "reply" ? [...checks, quoting(from(ends.from), to(ends.to))] : checks;
  }
}

function split(text: string): [string, number] {
  const { port } = parseEndpoint(text)!;
  return [text.slice(0, text.lastIndexOf(":")).replace(/^\[|\]$/g, ""), port];
}

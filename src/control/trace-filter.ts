/**
 * Which packets a trace shows. A filter is a list of words, all of which must hold, for the packet as it came or as it
 * went: `host 202.100.1.2`, `port 80`, `tcp`, `udp`, `icmp`, `sctp`, `gre`, `service tcp://202.103.106.5:80`, `drop`.
 */
import { parseAddress } from "../wire/address.ts";
import { type Flow, Protocol } from "../wire/flow.ts";
import { parseListen } from "./config/endpoint.ts";
import type { Parsed } from "./config/parsed.ts";

export interface TraceFilter {
  /** IP protocol numbers, any of which will do; empty: all. */
  readonly protocols: readonly number[];
  /** Each must be the source or the destination. Four words, as in wire/address.ts. */
  readonly hosts: readonly { readonly family: 4 | 6; readonly words: readonly number[] }[];
  /** Each must be the source or the destination port. */
  readonly ports: readonly number[];
  /** Only what the director refused. */
  readonly isDropOnly: boolean;
}

const PROTOCOLS: Readonly<Record<string, readonly number[]>> = {
  tcp: [Protocol.tcp],
  udp: [Protocol.udp],
  sctp: [Protocol.sctp],
  gre: [Protocol.gre],
  icmp: [Protocol.icmp, Protocol.icmp6],
};

const WORDS_WANTED =
  "host ADDRESS, port NUMBER, service PROTOCOL://VIP:PORT, tcp, udp, sctp, gre, icmp or drop";

/** Read a filter. @param text - words separated by blanks; empty: every packet */
export function parseTraceFilter(text: string): Parsed<TraceFilter> {
  const words = text.split(/\s+/).filter((word) => word !== "");
  const filter = {
    protocols: [] as number[],
    hosts: [] as TraceFilter["hosts"][number][],
    ports: [] as number[],
  };
  let isDropOnly = false;
  while (words.length > 0) {
    const word = words.shift()!;
    const protocols = Object.hasOwn(PROTOCOLS, word) ? PROTOCOLS[word] : undefined;
    if (protocols !== undefined) filter.protocols.push(...protocols);
    else if (word === "drop") isDropOnly = true;
    else if (word === "host") {
      const address = parseAddress(words.shift() ?? "");
      if (address === undefined) return { wanted: "an IP address after host" };
      filter.hosts.push({ family: address.family, words: [...address.words] });
    } else if (word === "port") {
      const port = words.shift() ?? "";
      if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535)
        return { wanted: "a number from 0 to 65535 after port" };
      filter.ports.push(Number(port));
    } else if (word === "service") {
      const listen = parseListen(words.shift() ?? "");
      if ("wanted" in listen) return listen;
      const { address, port, lastPort, protocol } = listen.value;
      if (protocol === "fwmark" || lastPort !== undefined)
        return { wanted: "a service of one port or of all; for others, words about host, port and protocol" };
      const parsed = parseAddress(address)!;
      filter.hosts.push({ family: parsed.family, words: [...parsed.words] });
      if (port !== 0) filter.ports.push(port);
      filter.protocols.push(...PROTOCOLS[protocol]!);
    } else return { wanted: `${WORDS_WANTED}, not ${JSON.stringify(word.slice(0, 40))}` };
  }
  return { value: { ...filter, isDropOnly } };
}

/** Does a packet's flow fit? (`isDropOnly` is the caller's to look at: a flow has no verdict.) */
export function matchesFlow(filter: TraceFilter, flow: Flow): boolean {
  if (filter.protocols.length > 0 && !filter.protocols.includes(flow.protocol)) return false;
  for (const port of filter.ports) {
    if (!flow.hasPorts || (flow.sourcePort !== port && flow.destinationPort !== port)) return false;
  }
  return filter.hosts.every(
    (host) => host.family === flow.family && (isAt(host, flow, 0) || isAt(host, flow, 4)),
  );
}

const isAt = (host: TraceFilter["hosts"][number], flow: Flow, at: number): boolean =>
  host.words.every((word, index) => flow.words[at + index] === word);

/** Services, marks and masquerade rules in the words of stories; see scenario.ts. */
import { seconds } from "../../src/base/environment.ts";
import type {
  DestinationConfig,
  MarkRule,
  MasqueradeRule,
  PortRange,
  RemovalPolicy,
  SchedulerFlag,
  ServiceConfig,
  ServiceKey,
  ServiceProtocol,
} from "../../src/nat/configuration.ts";
import { parseEndpoint } from "../../src/wire/address.ts";

/** "tcp 192.0.2.1:80", "tcp 192.0.2.1:80-90" or "mark 7" ("mark6 7"). */
export function parseKey([kind, end]: readonly string[]): ServiceKey & { readonly lastPort?: number } {
  if (kind === "mark" || kind === "mark6")
    return { protocol: "fwmark", address: kind === "mark" ? "0.0.0.0" : "::", port: 0, mark: Number(end) };
  const [, first, last] = /^(.*?)(?:-(\d+))?$/.exec(end!)!;
  const [address, port] = split(first!);
  const key = { protocol: kind as ServiceProtocol, address, port };
  return last === undefined ? key : { ...key, lastPort: Number(last) };
}

/** A key, a scheduler, attributes and servers. */
export function parseService([kind, end, scheduler, ...rest]: readonly string[]): ServiceConfig {
  const isServer = (word: string) => /^[\d[].*:\d/.test(word);
  const attributes = rest.filter((word) => !isServer(word)).map(parseAttribute);
  const destinations = rest.filter(isServer).map(parseServer);
  return Object.assign({ ...parseKey([kind!, end!]), scheduler: scheduler!, destinations }, ...attributes);
}

function parseAttribute(word: string): Partial<ServiceConfig> {
  const [name, value = ""] = word.split("=");
  switch (name) {
    case "persist": {
      const [timeout, netmask] = value.split("/");
      return {
        persistence: { timeout: seconds(Number(timeout)), ...(netmask !== undefined && { netmask }) },
      };
    }
    case "call-id":
      return { persistence: { timeout: seconds(Number(value)), engine: "sip" } };
    case "one-packet":
      return { isOnePacket: true };
    case "removal":
      return { removal: value as RemovalPolicy };
    case "fullnat":
    case "hairpin":
      return { fullNat: { sources: value.split(","), clients: name === "hairpin" ? "servers" : "all" } };
    case "proxy":
      return { proxyProtocol: "v2" };
    case "flag":
      return { schedulerFlags: [value as SchedulerFlag] };
    default:
      throw new Error(`no such attribute of a service: ${word}`);
  }
}

/** "172.16.0.2:80*2<10/8": weight, upper and lower threshold. */
function parseServer(text: string): DestinationConfig {
  const [, end, weight = "1", upper = "0", lower = "0"] = /^(.*?)(?:\*(\d+))?(?:<(\d+))?(?:\/(\d+))?$/.exec(
    text,
  )!;
  const [address, port] = split(end!);
  const [upperThreshold, lowerThreshold] = [Number(upper), Number(lower)];
  return { address, port, weight: Number(weight), upperThreshold, lowerThreshold };
}

/** "7 tcp 192.0.2.1/32 80-90"; protocol and ports may be absent. */
export function parseMark([mark, ...words]: readonly string[]): MarkRule {
  const protocol = words.find((word) => /^[a-z]+$/.test(word)) as ServiceProtocol | undefined;
  const destination = words.find((word) => word.includes("/"))!;
  const ports = words.find((word) => /^\d+(-\d+)?$/.test(word));
  return {
    mark: Number(mark),
    destination,
    ...(protocol !== undefined && { protocol }),
    ...(ports !== undefined && { ports: parseRange(ports) }),
  };
}

/** "172.16.0.0/24 as 198.51.100.1,198.51.100.2 40000-40999"; ports may be absent. */
export function parseMasquerade([from, , sources, ports]: readonly string[]): MasqueradeRule {
  return {
    from: [from!],
    sources: sources!.split(","),
    ...(ports !== undefined && { ports: parseRange(ports) }),
  };
}

function parseRange(text: string): PortRange {
  const [first, last = first] = text.split("-");
  return { first: Number(first), last: Number(last) };
}

export function split(text: string): [string, number] {
  const { port } = parseEndpoint(text)!;
  return [text.slice(0, text.lastIndexOf(":")).replace(/^\[|\]$/g, ""), port];
}

/** Names of hosts and ports, as the system knows them: /etc/hosts, DNS and /etc/services. */
import { lookup, lookupService } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import type { ServiceProtocol } from "../../nat/configuration.ts";

export interface Names {
  /** @returns its IPv4 address; undefined: there is no such host. ipvsadm looks for no IPv6 address either. */
  addressOf(host: string): Promise<string | undefined>;
  /** @param address - IPv4; ipvsadm shows IPv6 addresses as numbers always */
  hostOf(address: string): Promise<string | undefined>;
  portOf(service: string, protocol: ServiceProtocol): number | undefined;
  serviceOf(port: number, protocol: ServiceProtocol): string | undefined;
}

export function systemNames(): Names {
  let services: PortNames | undefined;
  const portNames = () => (services ??= new PortNames(readServices()));
  return {
    addressOf: (host) =>
      lookup(host, { family: 4 }).then(
        ({ address }) => (isIPv4(address) ? address : undefined), // an IPv6 address is its own answer
        () => undefined,
      ),
    hostOf: (address) =>
      lookupService(address, 0).then(
        ({ hostname }) => (hostname === address ? undefined : hostname),
        () => undefined,
      ),
    portOf: (service, protocol) => portNames().portOf(service, protocol),
    serviceOf: (port, protocol) => portNames().serviceOf(port, protocol),
  };
}

function readServices(): string {
  try {
    return readFileSync("/etc/services", "utf8");
  } catch {
    return ""; // as the C library: a system without the file has no names
  }
}

/** The text of /etc/services: `http  80/tcp  www  # comment`. The first line that fits counts. */
export class PortNames {
  readonly #ports = new Map<string, number>();
  readonly #names = new Map<string, string>();

  constructor(text: string) {
    for (const line of text.split("\n")) {
      const [name, portText, ...aliases] = line.replace(/#.*/, "").trim().split(/\s+/);
      const found = /^(\d+)\/(\w+)$/.exec(portText ?? "");
      if (name === undefined || found === null) continue;
      const [port, protocol] = [Number(found[1]), found[2]!];
      for (const one of [name, ...aliases]) setIfNew(this.#ports, `${one}/${protocol}`, port);
      setIfNew(this.#names, `${port}/${protocol}`, name);
    }
  }

  portOf(service: string, protocol: ServiceProtocol): number | undefined {
    return this.#ports.get(`${service}/${protocol}`);
  }

  serviceOf(port: number, protocol: ServiceProtocol): string | undefined {
    return this.#names.get(`${port}/${protocol}`);
  }
}

function setIfNew<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value);
}

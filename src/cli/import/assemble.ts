/**
 * A configuration file out of what was read, and what became of each line. The file is one that `vsnat check` accepts:
 * whatever it would not is left out and reported.
 */
import { Document, isMap, isSeq } from "yaml";
import { parseConfig } from "../../control/config/config.ts";
import { formatEndpoint, formatListen } from "../../control/config/endpoint.ts";
import type { Edit } from "../../control/edit.ts";
import { edit } from "../../control/layer-edit.ts";
import { makeLayers } from "../../control/layers.ts";
import type { DestinationConfig, DirectorConfig, ServiceConfig } from "../../nat/configuration.ts";
import { SCHEDULERS } from "../../schedulers/registry.ts";
import { bracketed } from "../../wire/address.ts";
import { CommandFailure } from "../exit-code.ts";
import type { ImportedLine } from "./imported-line.ts";

export interface Finding {
  readonly file: string;
  readonly line: number;
  readonly outcome: "maps" | "approximated" | "refused";
  readonly text: string;
  /** Why, unless it maps. */
  readonly reasons: readonly string[];
}

export interface Imported {
  readonly yaml: string;
  readonly serviceCount: number;
  readonly serverCount: number;
  readonly findings: readonly Finding[];
}

/** @param source - name of what was read */
export function assemble(lines: readonly ImportedLine[], source: string): Imported {
  const refusals = new Map<ImportedLine, string[]>();
  const refuse = (line: ImportedLine, reason: string): void => {
    refusals.set(line, [...new Set([...(refusals.get(line) ?? []), reason])]);
  };
  const start = parseConfig("services: []\ntimeouts: { profile: ipvs }");
  if (!start.ok) throw new Error("an empty configuration has mistakes");
  const empty = start.config.director;
  let layers = makeLayers(empty, Object.keys(SCHEDULERS));
  /** Which line gave a service or a server; the last that did. */
  const origins = new Map<string, ImportedLine>();
  for (const line of lines) {
    if (line.refusal !== undefined) refuse(line, line.refusal);
    for (const wanted of line.edits) {
      const edited = edit(layers, wanted, new Date(0));
      if ("code" in edited) refuse(line, edited.message);
      else {
        layers = edited;
        for (const name of namesOf(wanted)) origins.set(name, line);
      }
    }
  }
  const { services, settings } = layers.effective;
  const file = {
    services: services.map(serviceValue),
    timeouts: { profile: "ipvs", ...changedTimeouts(settings.timeouts, empty.settings.timeouts) },
  };
  const yaml = leaveOutMistakes(file, source, (names, reason) => {
    const line = names.map((name) => origins.get(name)).find((one) => one !== undefined);
    if (line !== undefined) refuse(line, reason);
  });
  return {
    yaml,
    serviceCount: file.services.length,
    serverCount: file.services.reduce((sum, { servers }) => sum + servers.length, 0),
    findings: lines.map((line) => findingOf(line, refusals.get(line) ?? [])),
  };
}

function findingOf(line: ImportedLine, refusals: readonly string[]): Finding {
  const { place, text, remarks } = line;
  const outcome = refusals.length > 0 ? "refused" : remarks.length > 0 ? "approximated" : "maps";
  return { ...place, outcome, text, reasons: [...refusals, ...remarks] };
}

function namesOf(wanted: Edit): string[] {
  switch (wanted.kind) {
    case "add-service":
    case "edit-service":
      return [formatListen(wanted.service)];
    case "add-server":
    case "edit-server":
      return [serverName(formatListen(wanted.service), wanted.server)];
    default:
      return [];
  }
}

const serverName = (listen: string, { address, port }: Pick<DestinationConfig, "address" | "port">): string =>
  `${formatEndpoint(address, port)} of ${listen}`;

type ServerValue =
  | string
  | { address: string; weight: number; upperThreshold?: number; lowerThreshold?: number };

type ServiceValue = {
  listen: string;
  scheduler: string;
  schedulerFlags?: readonly string[];
  persistence?: number | { timeout: number; netmask?: string | number; engine?: string };
  onePacket?: boolean;
  app?: string;
  servers: ServerValue[];
};

interface FileValue {
  readonly services: ServiceValue[];
  readonly timeouts: object;
}

function serviceValue(service: ServiceConfig): ServiceValue {
  const { scheduler, schedulerFlags, persistence, isOnePacket, app, destinations } = service;
  return {
    listen: formatListen(service),
    scheduler,
    ...(schedulerFlags !== undefined && schedulerFlags.length > 0 && { schedulerFlags }),
    ...(persistence !== undefined && { persistence: persistenceValue(persistence) }),
    ...(isOnePacket === true && { onePacket: true }),
    ...(app !== undefined && { app }),
    servers: destinations.map(serverValue),
  };
}

function persistenceValue({ timeout, netmask, engine }: NonNullable<ServiceConfig["persistence"]>) {
  if (netmask === undefined && engine === undefined) return timeout;
  return {
    timeout,
    ...(netmask !== undefined && { netmask: /^\d+$/.test(netmask) ? Number(netmask) : netmask }),
    ...(engine !== undefined && { engine }),
  };
}

function serverValue({
  address,
  port,
  weight,
  upperThreshold,
  lowerThreshold,
}: DestinationConfig): ServerValue {
  const endpoint = port === 0 ? bracketed(address) : formatEndpoint(address, port);
  if (weight === 1 && upperThreshold === 0 && lowerThreshold === 0) return endpoint;
  return {
    address: endpoint,
    weight,
    ...(upperThreshold > 0 && { upperThreshold }),
    ...(lowerThreshold > 0 && { lowerThreshold }),
  };
}

/** What a file says of timeouts to be like `wanted`, over a profile. */
function changedTimeouts(wanted: DirectorConfig["settings"]["timeouts"], profile: typeof wanted) {
  const tcp = Object.entries(wanted.tcp).filter(([state, value]) => value !== profile.tcp[state as "none"]);
  return {
    ...(tcp.length > 0 && { tcp: Object.fromEntries(tcp) }),
    ...(wanted.udp !== profile.udp && { udp: wanted.udp }),
  };
}

/**
 * Take out what a check complains about: a server, an option, else the service.
 * @param tell - names of what it is about, and the complaint
 * @returns the text, which a check accepts
 */
function leaveOutMistakes(
  file: FileValue,
  source: string,
  tell: (names: readonly string[], reason: string) => void,
): string {
  for (;;) {
    const yaml = textOf(file, source);
    const result = parseConfig(yaml);
    if (result.ok) return yaml;
    // From the back, so that indexes in front stay what they are.
    const places = result.issues.map(({ path, found, wanted }) => {
      const [, service, server, key] = /^services\[(\d+)\](?:\.servers\[(\d+)\]|\.(\w+))?/.exec(path) ?? [];
      if (service === undefined)
        throw new CommandFailure(`Cannot make a configuration file: ${found}, expected ${wanted}`);
      return { service: Number(service), server, key, reason: `${found}, expected ${wanted}` };
    });
    places.sort((a, b) => b.service - a.service || Number(b.server ?? -1) - Number(a.server ?? -1));
    const gone = new Set<string>();
    for (const { service, server, key, reason } of places) {
      if (gone.has(`${service}`)) continue;
      const value = file.services[service]!;
      const { listen } = value;
      if (server !== undefined) {
        if (gone.has(`${service} ${server}`)) continue;
        gone.add(`${service} ${server}`);
        const [one] = value.servers.splice(Number(server), 1) as [ServerValue];
        tell(serverNames(listen, one), reason);
      } else if (key === "schedulerFlags" || key === "persistence" || key === "onePacket") {
        tell([listen], `${key}: ${reason}`);
        delete value[key];
      } else {
        gone.add(`${service}`);
        file.services.splice(service, 1);
        tell([listen], reason);
        for (const one of value.servers) tell(serverNames(listen, one), "its service is refused");
      }
    }
  }
}

/** With and without the port that the file leaves out. */
function serverNames(listen: string, server: ServerValue): string[] {
  const endpoint = typeof server === "string" ? server : server.address;
  return [`${endpoint} of ${listen}`, `${endpoint}:0 of ${listen}`];
}

function textOf(file: FileValue, source: string): string {
  const document = new Document(file);
  document.commentBefore = ` Made by vsnat import from ${source}. Time-outs are those of Linux IPVS.`;
  const services = document.get("services");
  if (isSeq(services))
    for (const service of services.items) {
      if (!isMap(service)) continue;
      for (const key of ["schedulerFlags", "persistence"]) {
        const value = service.get(key);
        if (isMap(value) || isSeq(value)) value.flow = true;
      }
      const servers = service.get("servers");
      if (isSeq(servers)) for (const server of servers.items) if (isMap(server)) server.flow = true;
    }
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}

/**
 * What should run: the configuration file's layer with the changes made by hand over it (layer-edit.ts makes those). Pure:
 * every change makes new layers. A new file keeps every fact made by hand.
 */
import type { DirectorConfig, ServiceConfig } from "../nat/configuration.ts";
import { isSameService } from "../nat/virtual-service.ts";
import { SERVICES_MAX } from "./config/schema.ts";
import { SERVERS_PER_SERVICE_MAX } from "./config/service-schema.ts";
import type { ManualChange } from "./edit.ts";
import { checkServer, checkService, EditRefusal } from "./edit-rules.ts";
import { manualChanges } from "./manual-changes.ts";
import {
  isSameServer,
  type ManualLayer,
  mergeService,
  mergeTimeouts,
  NOTHING_MANUAL,
  serverText,
  serviceText,
} from "./manual-layer.ts";

export interface Layers {
  readonly file: DirectorConfig;
  readonly manual: ManualLayer;
  /** Names of schedulers that services may ask for. */
  readonly schedulers: readonly string[];
  /** The file with everything made by hand over it. */
  readonly effective: DirectorConfig;
}

export function makeLayers(
  file: DirectorConfig,
  schedulers: readonly string[],
  manual: ManualLayer = NOTHING_MANUAL,
): Layers {
  return { file, manual, schedulers, effective: merge(file, manual) };
}

export interface Reloaded {
  readonly layers: Layers;
  /** Changes by hand that hold against what the new file says otherwise than the old one did. */
  readonly overriding: readonly ManualChange[];
}

/** Another file under the changes made by hand, all of which are kept. */
export function reload(layers: Layers, file: DirectorConfig, schedulers = layers.schedulers): Reloaded {
  const before = new Set(manualChanges(layers).map(({ subject, what }) => `${subject}: ${what}`));
  const reloaded = makeLayers(file, schedulers, layers.manual);
  const overriding = manualChanges(reloaded).filter(
    ({ subject, what, dormantBecause }) => dormantBecause === undefined && !before.has(`${subject}: ${what}`),
  );
  return { layers: reloaded, overriding };
}

/**
 * Forget what was changed by hand.
 * @param subject - of one change, as manualChanges() names it; absent: all
 */
export function discard(layers: Layers, subject?: string): Layers {
  const { file, schedulers } = layers;
  if (subject === undefined) return makeLayers(file, schedulers);
  const { timeouts, services } = layers.manual;
  const kept = services
    .filter(({ key }) => subject !== `service ${serviceText(key)}`)
    .map((service) => ({
      ...service,
      servers: service.servers.filter(
        (fact) => subject !== `server ${serverText(fact)} of ${serviceText(service.key)}`,
      ),
    }))
    .filter(({ own, servers }) => own !== undefined || servers.length > 0);
  return makeLayers(file, schedulers, {
    services: kept,
    ...(timeouts !== undefined && subject !== "timeouts" && { timeouts }),
  });
}

/** Why file and hand cannot both be had, one sentence a problem: a new file may say what excludes a change by hand. */
export function conflicts({ manual, effective, schedulers }: Layers): string[] {
  const { services } = effective;
  const problems: string[] = [];
  const collect = (check: () => void): void => {
    try {
      check();
    } catch (error) {
      if (!(error instanceof EditRefusal)) throw error;
      problems.push(error.message);
    }
  };
  if (services.length > SERVICES_MAX) problems.push(tooMany("services", services.length, SERVICES_MAX));
  for (const { key, own, servers } of manual.services) {
    const service = services.find((one) => isSameService(one, key));
    if (service === undefined) continue;
    const attempt = `Cannot keep service ${serviceText(key)} as changed by hand`;
    if (own !== undefined)
      collect(() => checkService(attempt, service, schedulers, services, effective.applications));
    const { length } = service.destinations;
    if (length > SERVERS_PER_SERVICE_MAX) {
      problems.push(`${attempt}: ${tooMany("servers", length, SERVERS_PER_SERVICE_MAX)}`);
    }
    for (const fact of servers) {
      const server = service.destinations.find((one) => isSameServer(one, fact));
      if (server !== undefined) {
        const what = `Cannot keep server ${serverText(fact)} of ${serviceText(key)} as changed by hand`;
        collect(() => checkServer(what, key, server, services));
      }
    }
  }
  return problems;
}

export const tooMany = (noun: string, count: number, max: number): string =>
  `${count} ${noun}, wanted at most ${max}`;

function merge(file: DirectorConfig, manual: ManualLayer): DirectorConfig {
  if (manual === NOTHING_MANUAL) return file;
  const factsOf = new Map(manual.services.map((service) => [serviceText(service.key), service]));
  const services: ServiceConfig[] = [];
  const take = (service: ServiceConfig | undefined): void => {
    if (service !== undefined) services.push(service);
  };
  for (const service of file.services) {
    const name = serviceText(service);
    const facts = factsOf.get(name);
    take(facts === undefined ? service : mergeService(service, facts));
    factsOf.delete(name);
  }
  for (const facts of factsOf.values()) take(mergeService(undefined, facts));
  const timeouts = mergeTimeouts(file.settings.timeouts, manual.timeouts);
  return { ...file, services, settings: { ...file.settings, timeouts } };
}

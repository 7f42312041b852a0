/**
 * One change by hand, made in the layers: judged against what is in effect, with Linux IPVS's errors, and written down as
 * what differs from the file. What brings a value back to the file's leaves no trace.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { DestinationConfig, ServiceConfig, ServiceKey } from "../nat/configuration.ts";
import { FTP_PORT } from "../nat/ftp-ports.ts";
import { isSameService } from "../nat/virtual-service.ts";
import { DURATION_SECONDS_MAX } from "./config/quantity.ts";
import { SERVICES_MAX } from "./config/schema.ts";
import { SERVERS_PER_SERVICE_MAX } from "./config/service-schema.ts";
import type { Edit, EditFailure, EditOutcome, ServiceAttributes } from "./edit.ts";
import {
  checkedServerKey,
  checkedServiceKey,
  checkServer,
  checkService,
  EditRefusal,
  isWhole,
} from "./edit-rules.ts";
import { type Layers, makeLayers, tooMany } from "./layers.ts";
import {
  isEmpty,
  isSameServer,
  type ManualLayer,
  type ManualService,
  type ManualTimeouts,
  mergeService,
  type ServerFact,
  type ServerKey,
  type ServerValues,
  type ServiceFact,
  type ServiceValues,
  serverDifference,
  serverText,
  serverValues,
  serviceDifference,
  serviceText,
  serviceValues,
} from "./manual-layer.ts";

/** Facts about services and servers, all together. */
export const MANUAL_FACTS_MAX = 65_536;
/** Some tens of milliseconds, with thousands of services. */
const SLICE_EDITS = 50;

/** @param now - when the edit is made. */
export function edit(layers: Layers, wanted: Edit, now: Date): Layers | EditFailure {
  try {
    const edited = make(layers, wanted, now.toISOString());
    if (factCount(edited.manual) > MANUAL_FACTS_MAX && factCount(layers.manual) < factCount(edited.manual)) {
      const advice = "write them into the configuration file, then: vsnat reload --discard-edits";
      throw new EditRefusal(
        "EINVAL",
        `Cannot change more by hand than ${MANUAL_FACTS_MAX} things: ${advice}`,
      );
    }
    return edited;
  } catch (error) {
    if (error instanceof EditRefusal) return { code: error.code, message: error.message };
    throw error;
  }
}

/** Outcomes are in the order of the edits. */
export interface Edited {
  readonly layers: Layers;
  readonly outcomes: EditOutcome[];
}

/**
 * Make edits one after the other; one that fails leaves the rest to be tried, as with ipvsadm. A long list is made in
 * slices, between which the event loop may turn.
 * @param refuse - why layers cannot be, if something outside of them speaks against it
 */
export async function editAll(
  start: Layers,
  edits: readonly Edit[],
  now: Date,
  refuse: (layers: Layers) => string | undefined = () => undefined,
): Promise<Edited> {
  let layers = start;
  const outcomes: EditOutcome[] = [];
  for (const [index, wanted] of edits.entries()) {
    if (index % SLICE_EDITS === SLICE_EDITS - 1) await nextTurn();
    const edited = edit(layers, wanted, now);
    if ("code" in edited) {
      outcomes.push(edited);
      continue;
    }
    const message = refuse(edited);
    outcomes.push(message === undefined ? undefined : { code: "EINVAL", message });
    if (message === undefined) layers = edited;
  }
  return { layers, outcomes };
}

export const factCount = ({ services }: ManualLayer): number =>
  services.reduce((count, { own, servers }) => count + (own === undefined ? 0 : 1) + servers.length, 0);

function make(layers: Layers, wanted: Edit, since: string): Layers {
  switch (wanted.kind) {
    case "add-service":
      return addService(layers, wanted.service, since);
    case "edit-service":
      return editService(layers, wanted.service, since);
    case "delete-service":
      return deleteService(layers, wanted.service, since);
    case "clear":
      return layers.effective.services.reduce((rest, service) => deleteService(rest, service, since), layers);
    case "add-server":
      return addServer(layers, wanted.service, wanted.server, since);
    case "edit-server":
      return editServer(layers, wanted.service, wanted.server, since);
    case "delete-server":
      return deleteServer(layers, wanted.service, wanted.server, since);
    case "set-timeouts":
      return setTimeouts(layers, wanted, since);
  }
}

/** One service in all the layers. */
interface Place {
  readonly key: ServiceKey;
  readonly file: ServiceConfig | undefined;
  readonly manual: ManualService;
  readonly current: ServiceConfig | undefined;
}

function placeOf(layers: Layers, attempt: string, key: ServiceKey): Place {
  const checked = checkedServiceKey(attempt, key);
  const isIt = (one: ServiceKey): boolean => isSameService(one, checked);
  return {
    key: checked,
    file: layers.file.services.find(isIt),
    manual: layers.manual.services.find((one) => isIt(one.key)) ?? { key: checked, servers: [] },
    current: layers.effective.services.find(isIt),
  };
}

function existing(attempt: string, { current }: Place): ServiceConfig {
  if (current === undefined) throw new EditRefusal("ESRCH", `${attempt}: there is no such service`);
  return current;
}

function addService(layers: Layers, service: ServiceAttributes, since: string): Layers {
  const attempt = `Cannot add service ${serviceText(service)}`;
  const { services } = layers.effective;
  const place = placeOf(layers, attempt, service);
  const { key, file, current } = place;
  if (current !== undefined) throw new EditRefusal("EEXIST", `${attempt}: it exists`);
  const values = serviceValues({ ...applicationOf(service), ...withoutAbsent(service) } as ServiceAttributes);
  checkService(attempt, { ...key, ...values }, layers.schedulers, services, layers.file.applications);
  if (services.length >= SERVICES_MAX) {
    throw new EditRefusal("EINVAL", `${attempt}: ${tooMany("services", services.length + 1, SERVICES_MAX)}`);
  }
  // It begins without servers, also where the file has some, and whatever was once said about them.
  const servers = file?.destinations.map(
    ({ address, port }) => ({ address, port, kind: "removed", since }) as const,
  );
  const own = file === undefined ? ({ kind: "added", values, since } as const) : changed(file, values, since);
  return withFacts(layers, { key, servers: servers ?? [], ...(own && { own }) });
}

function editService(layers: Layers, service: ServiceAttributes, since: string): Layers {
  const attempt = `Cannot edit service ${serviceText(service)}`;
  const place = placeOf(layers, attempt, service);
  const { key, file, manual } = place;
  const current = existing(attempt, place);
  const { lastPort, removal, fullNat, proxyProtocol, app, appOptions } = current;
  const values = serviceValues({
    lastPort,
    removal,
    fullNat,
    proxyProtocol,
    app,
    appOptions,
    ...withoutAbsent(service),
  } as ServiceAttributes);
  if (values.lastPort !== lastPort) {
    throw new EditRefusal("EINVAL", `${attempt}: its ports cannot change; delete it and add it again`);
  }
  checkService(
    attempt,
    { ...key, ...values },
    layers.schedulers,
    layers.effective.services,
    layers.file.applications,
  );
  if (isDeepStrictEqual(values, serviceValues(current))) return layers;
  const isAdded = manual.own?.kind === "added" && !(file && isEmpty(serviceDifference(file, values)));
  const own = isAdded ? ({ kind: "added", values, since } as const) : file && changed(file, values, since);
  return withFacts(layers, { key, servers: manual.servers, ...(own && { own }) });
}

/** IPVS's ftp helper, once loaded, is for every service of port 21. */
function applicationOf({ protocol, port, proxyProtocol }: ServiceAttributes): Partial<ServiceAttributes> {
  return protocol === "tcp" && port === FTP_PORT && proxyProtocol === undefined ? { app: "ftp" } : {};
}

const withoutAbsent = <T extends object>(one: T): Partial<T> =>
  Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)) as Partial<T>;

function deleteService(layers: Layers, service: ServiceKey, since: string): Layers {
  const attempt = `Cannot delete service ${serviceText(service)}`;
  const place = placeOf(layers, attempt, service);
  existing(attempt, place);
  const { key, file } = place;
  return withFacts(layers, { key, servers: [], ...(file && { own: { kind: "removed", since } }) });
}

/** The fact that a service has other values than the file gives it; undefined: it has not. */
function changed(file: ServiceConfig, wanted: ServiceValues, since: string): ServiceFact | undefined {
  const values = serviceDifference(file, wanted);
  return isEmpty(values) ? undefined : { kind: "changed", values, since };
}

function addServer(layers: Layers, service: ServiceKey, wanted: DestinationConfig, since: string): Layers {
  const attempt = `Cannot add server ${serverText(wanted)} to ${serviceText(service)}`;
  const place = placeOf(layers, attempt, service);
  const current = existing(attempt, place);
  const { destinations } = current;
  const server = { ...checkedServerKey(attempt, wanted), ...serverValues(wanted) };
  checkServer(attempt, place.key, server, layers.effective.services);
  if (destinations.some((one) => isSameServer(one, server))) {
    throw new EditRefusal("EEXIST", `${attempt}: it is there`);
  }
  if (destinations.length >= SERVERS_PER_SERVICE_MAX) {
    const found = tooMany("servers", destinations.length + 1, SERVERS_PER_SERVICE_MAX);
    throw new EditRefusal("EINVAL", `${attempt}: ${found}`);
  }
  const { address, port } = server;
  const servers: ServerFact[] = [
    ...place.manual.servers.filter((one) => !isSameServer(one, server)),
    { address, port, kind: "added", values: serverValues(server), since },
  ];
  if (place.file?.destinations.some((one) => isSameServer(one, server))) {
    return withFacts(layers, { ...place.manual, servers: settled(place.file.destinations, servers) });
  }
  const merged = { ...current, destinations: [...destinations, server] };
  return withFacts(layers, { ...place.manual, servers }, merged);
}

/**
 * Servers that were added again in the file's order are where the file has them: only what differs of them is left.
 * So deleting everything and restoring it leaves no trace.
 */
function settled(file: readonly DestinationConfig[], facts: readonly ServerFact[]): ServerFact[] {
  const placeOfServer = new Map(file.map((server, place) => [serverText(server), place]));
  const moved = new Set(facts.filter(({ kind }) => kind !== "changed").map(serverText));
  let last = file.findLastIndex((server) => !moved.has(serverText(server)));
  let isInOrder = true;
  return facts.flatMap((fact) => {
    if (fact.kind !== "added" || !isInOrder) return fact;
    const place = placeOfServer.get(serverText(fact));
    if (place === undefined || place < last) {
      isInOrder = false;
      return fact;
    }
    last = place;
    return changedServer(file[place]!, fact.values, fact.since);
  });
}

/** The fact that a server has other values than the file gives it; none if it has not. */
function changedServer(file: DestinationConfig, wanted: ServerValues, since: string): ServerFact[] {
  const values = serverDifference(serverValues(file), wanted);
  const { address, port } = file;
  return isEmpty(values) ? [] : [{ address, port, kind: "changed", values, since }];
}

function editServer(layers: Layers, service: ServiceKey, wanted: DestinationConfig, since: string): Layers {
  const attempt = `Cannot edit server ${serverText(wanted)} of ${serviceText(service)}`;
  const place = placeOf(layers, attempt, service);
  const { destinations } = existing(attempt, place);
  const server = { ...checkedServerKey(attempt, wanted), ...serverValues(wanted) };
  checkServer(attempt, place.key, server, layers.effective.services);
  const current = existingServer(attempt, destinations, server);
  const values = serverValues(server);
  if (isDeepStrictEqual(serverValues(current), values)) return layers;
  const { manual, file } = place;
  const isIt = (one: ServerKey): boolean => isSameServer(one, server);
  if (manual.servers.some((fact) => isIt(fact) && fact.kind === "added")) {
    const servers = manual.servers.map((fact) =>
      isIt(fact) ? { ...fact, kind: "added" as const, values, since } : fact,
    );
    return withFacts(layers, { ...manual, servers });
  }
  const ofFile = file!.destinations.find(isIt)!; // where else would it be from
  const servers = [...manual.servers.filter((fact) => !isIt(fact)), ...changedServer(ofFile, values, since)];
  return withFacts(layers, { ...manual, servers });
}

function deleteServer(layers: Layers, service: ServiceKey, wanted: ServerKey, since: string): Layers {
  const attempt = `Cannot delete server ${serverText(wanted)} of ${serviceText(service)}`;
  const place = placeOf(layers, attempt, service);
  const { destinations } = existing(attempt, place);
  const server = checkedServerKey(attempt, wanted);
  existingServer(attempt, destinations, server);
  const isIt = (one: ServerKey): boolean => isSameServer(one, server);
  const others = place.manual.servers.filter((fact) => !isIt(fact));
  const removed: ServerFact[] = place.file?.destinations.some(isIt)
    ? [{ ...server, kind: "removed", since }]
    : [];
  return withFacts(layers, { ...place.manual, servers: [...others, ...removed] });
}

function existingServer(
  attempt: string,
  destinations: readonly DestinationConfig[],
  server: ServerKey,
): DestinationConfig {
  const found = destinations.find((one) => isSameServer(one, server));
  if (found === undefined) throw new EditRefusal("ENOENT", `${attempt}: there is no such server`);
  return found;
}

function setTimeouts(layers: Layers, wanted: Extract<Edit, { kind: "set-timeouts" }>, since: string): Layers {
  const { file, manual, schedulers } = layers;
  const { tcp, udp } = file.settings.timeouts;
  const ofFile = { tcp: tcp.established, tcpFin: tcp.finWait, udp };
  const values: Partial<Record<keyof typeof ofFile, number>> = {};
  let isChanged = false;
  for (const name of ["tcp", "tcpFin", "udp"] as const) {
    if (!isWhole(wanted[name], 0, DURATION_SECONDS_MAX)) {
      const problem = `${name} is ${wanted[name]}, wanted 0 to ${DURATION_SECONDS_MAX} seconds`;
      throw new EditRefusal("EINVAL", `Cannot set timeouts: ${problem}`);
    }
    const before = manual.timeouts?.[name];
    const after = wanted[name] === 0 ? before : wanted[name];
    if (wanted[name] !== 0 && after !== (before ?? ofFile[name])) isChanged = true;
    if (after !== undefined && (wanted[name] === 0 || after !== ofFile[name])) values[name] = after;
  }
  if (!isChanged) return layers;
  const timeouts: ManualTimeouts | undefined = isEmpty(values) ? undefined : { ...values, since };
  return makeLayers(file, schedulers, { services: manual.services, ...(timeouts && { timeouts }) });
}

/**
 * @param facts - in place of those about the same service
 * @param known - the service as it is then, where that is plain already
 */
function withFacts(layers: Layers, facts: ManualService, known?: ServiceConfig): Layers {
  const { file, manual, effective } = layers;
  const isIt = (one: ServiceKey): boolean => isSameService(one, facts.key);
  const ofFile = file.services.find(isIt);
  const merged = known ?? mergeService(ofFile, facts);
  const place = effective.services.findIndex(isIt);
  const isNothing = facts.own === undefined && facts.servers.length === 0;
  const at = manual.services.findIndex(({ key }) => isIt(key));
  const isNew = place < 0 || at < 0;
  const others = isNothing || isNew ? manual.services.filter((_, index) => index !== at) : manual.services;
  const services = isNothing ? others : isNew ? [...others, facts] : others.with(at, facts);
  const edited: ManualLayer = { ...manual, services };
  const isBack = place < 0 && ofFile !== undefined;
  if (isBack) return makeLayers(file, layers.schedulers, edited); // at its place among the file's services
  const running = effective.services;
  const merging =
    merged === undefined
      ? running.filter((_, index) => index !== place)
      : place < 0
        ? [...running, merged]
        : running.with(place, merged);
  return { ...layers, manual: edited, effective: { ...effective, services: merging } };
}

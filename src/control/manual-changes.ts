/** What was changed by hand, in words, with what the file says instead. */
import type {
  DestinationConfig,
  DirectorConfig,
  FullNatConfig,
  PersistenceConfig,
  ServiceConfig,
} from "../nat/configuration.ts";
import type { ManualChange } from "./edit.ts";
import {
  isSameServer,
  type ManualLayer,
  type ManualService,
  type ManualTimeouts,
  patched,
  SERVER_VALUES,
  SERVICE_VALUES,
  type ServerFact,
  type ServerValues,
  type ServiceFact,
  type ServiceValues,
  serverText,
  serverValues,
  serviceText,
  serviceValues,
} from "./manual-layer.ts";

const SERVICE_IS_GONE = "the file does not have this service";
const SERVER_IS_GONE = "the file does not have this server";
const FILE_AGREES = "the file says the same";

export function manualChanges({
  file,
  manual,
}: {
  readonly file: DirectorConfig;
  readonly manual: ManualLayer;
}): ManualChange[] {
  const services = new Map(file.services.map((service) => [serviceText(service), service]));
  return [
    ...(manual.timeouts === undefined ? [] : [timeoutsChange(file, manual.timeouts)]),
    ...manual.services.flatMap((facts) => serviceChanges(services.get(serviceText(facts.key)), facts)),
  ];
}

function serviceChanges(
  file: ServiceConfig | undefined,
  { key, own, servers }: ManualService,
): ManualChange[] {
  const name = serviceText(key);
  const change = (subject: string, since: string, { what, dormantBecause }: Words): ManualChange => ({
    subject,
    what,
    since,
    ...(dormantBecause !== undefined && { dormantBecause }),
  });
  const hasService = file !== undefined || own?.kind === "added";
  return [
    ...(own === undefined ? [] : [change(`service ${name}`, own.since, serviceWords(file, own))]),
    ...servers.map((fact) => {
      const server = file?.destinations.find((one) => isSameServer(one, fact));
      const words = serverWords(server, fact);
      const dormantBecause = hasService ? words.dormantBecause : SERVICE_IS_GONE;
      return change(`server ${serverText(fact)} of ${name}`, fact.since, {
        what: words.what,
        dormantBecause,
      });
    }),
  ];
}

type Words = Pick<ManualChange, "what"> & { readonly dormantBecause?: string | undefined };

function serviceWords(file: ServiceConfig | undefined, fact: ServiceFact): Words {
  switch (fact.kind) {
    case "removed":
      return { what: "removed", dormantBecause: file === undefined ? SERVICE_IS_GONE : undefined };
    case "added":
      if (file === undefined) return { what: "added" };
      return addedWords(differences(SERVICE_VALUES, serviceValues(file), fact.values, serviceValue));
    case "changed": {
      const from = file && serviceValues(file);
      const to = from ? patched(from, fact.values) : (fact.values as ServiceValues);
      return changedWords(
        differences(SERVICE_VALUES, from, to, serviceValue),
        from !== undefined,
        SERVICE_IS_GONE,
      );
    }
  }
}

function serverWords(file: DestinationConfig | undefined, fact: ServerFact): Words {
  switch (fact.kind) {
    case "removed":
      return { what: "removed", dormantBecause: file === undefined ? SERVER_IS_GONE : undefined };
    case "added":
      if (file === undefined) return { what: "added" };
      return addedWords(differences(SERVER_VALUES, serverValues(file), fact.values, serverValue));
    case "changed": {
      const from = file && serverValues(file);
      const to = from ? patched(from, fact.values) : (fact.values as ServerValues);
      return changedWords(
        differences(SERVER_VALUES, from, to, serverValue),
        from !== undefined,
        SERVER_IS_GONE,
      );
    }
  }
}

/** About what was added by hand, and the file has too. */
const addedWords = (texts: readonly string[]): Words =>
  texts.length === 0
    ? { what: "added", dormantBecause: FILE_AGREES }
    : { what: ["added", ...texts].join(", ") };

function changedWords(texts: readonly string[], isThere: boolean, gone: string): Words {
  if (!isThere) return { what: texts.join(", "), dormantBecause: gone };
  return texts.length === 0 ? { what: "changed", dormantBecause: FILE_AGREES } : { what: texts.join(", ") };
}

function timeoutsChange({ settings: { timeouts } }: DirectorConfig, manual: ManualTimeouts): ManualChange {
  const file = { tcp: timeouts.tcp.established, tcpFin: timeouts.tcp.finWait, udp: timeouts.udp };
  const { since, ...values } = manual;
  const texts = differences(["tcp", "tcpFin", "udp"], file, { ...file, ...values }, (name, value) => [
    name === "tcpFin" ? "tcp fin" : name,
    `${value} s`,
  ]);
  const { what, dormantBecause } = changedWords(texts, true, "");
  return { subject: "timeouts", what, since, ...(dormantBecause !== undefined && { dormantBecause }) };
}

/**
 * "weight 1 -> 5" of each value that differs.
 * @param from - undefined: not known; then all of `to`, as "weight 5"
 */
function differences<T extends object>(
  names: readonly (keyof T)[],
  from: T | undefined,
  to: T,
  format: (name: keyof T, value: T[keyof T]) => readonly [label: string, text: string],
): string[] {
  return names.flatMap((name) => {
    const [label, text] = format(name, to[name]);
    if (from === undefined) return name in to ? `${label} ${text}` : [];
    const [, before] = format(name, from[name]);
    return before === text ? [] : `${label} ${before} -> ${text}`;
  });
}

const SERVER_LABELS: Readonly<Record<keyof ServerValues, string>> = {
  weight: "weight",
  upperThreshold: "upper threshold",
  lowerThreshold: "lower threshold",
};
const serverValue = (name: keyof ServerValues, value: number) =>
  [SERVER_LABELS[name], String(value)] as const;

const SERVICE_LABELS: Readonly<Record<keyof ServiceValues, string>> = {
  scheduler: "scheduler",
  schedulerFlags: "scheduler flags",
  persistence: "persistence",
  isOnePacket: "one-packet scheduling",
  lastPort: "last port",
  removal: "removed servers",
  fullNat: "FullNAT",
  proxyProtocol: "PROXY protocol",
  app: "application module",
  appOptions: "options of the application module",
};

function serviceValue(name: keyof ServiceValues, value: ServiceValues[keyof ServiceValues]) {
  return [SERVICE_LABELS[name], serviceValueText(name, value)] as const;
}

function serviceValueText(
  name: keyof ServiceValues,
  value: ServiceValues[keyof ServiceValues] | null,
): string {
  if (value === undefined || value === null) return "none";
  switch (name) {
    case "persistence":
      return persistenceText(value as PersistenceConfig);
    case "fullNat": {
      const { sources, clients } = value as FullNatConfig;
      return `from ${sources.join(",")} for ${clients === "all" ? "all clients" : "its servers"}`;
    }
    case "isOnePacket":
      return "on";
    case "appOptions":
      return JSON.stringify(value);
    default:
      return Array.isArray(value) ? value.join(",") : String(value);
  }
}

/** "300 s mask 255.255.255.0 engine sip". */
export const persistenceText = ({ timeout, netmask, engine }: PersistenceConfig): string =>
  [`${timeout} s`, ...(netmask ? [`mask ${netmask}`] : []), ...(engine ? [`engine ${engine}`] : [])].join(
    " ",
  );

/**
 * A configuration file: text in, the director's and the host's desired state out, or every mistake at once.
 *
 * Nothing here touches the running director: a file with a mistake changes nothing.
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type * as z from "zod";
import { UNKNOWN_PROTOCOLS } from "../../alg/presets.ts";
import { APPLICATION_NAMES } from "../../alg/registry.ts";
import type { HostConfig } from "../../datapath/tun/host/host-config.ts";
import type { DirectorConfig, OwnApplication, ServiceConfig } from "../../nat/configuration.ts";
import { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS } from "../../nat/timeouts.ts";
import { SCHEDULERS } from "../../schedulers/registry.ts";
import type { FastPathMode } from "../datapath-protocol.ts";
import { defaultPort } from "./endpoint.ts";
import { type ConfigIssue, describeValue, type PathSegment } from "./issue.ts";
import { nearest } from "./nearest.ts";
import { addressesOf, type PoolValue } from "./network.ts";
import { type OwnApplicationDefinition, ownApplicationNames } from "./own-application-schema.ts";
import { recordOf } from "./raw.ts";
import { checkRelations } from "./relations.ts";
import { pluginNames } from "./scheduler-schema.ts";
import { type ConfigFile, configFileSchema } from "./schema.ts";
import { CONFIG_BYTES_MAX, ConfigSource, ISSUES_MAX } from "./source.ts";

/** A scheduler of the user's own. */
export interface SchedulerPlugin {
  /** By which services name it; no built-in one has it. */
  readonly name: string;
  /** Path of the module. */
  readonly file: string;
}

export interface Config {
  readonly director: DirectorConfig;
  readonly host: HostConfig;
  readonly fastPath: FastPathMode;
  readonly schedulerPlugins: readonly SchedulerPlugin[];
  /** Application modules of the user's own. */
  readonly applications: readonly OwnApplicationDefinition[];
}

export type ConfigResult =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly warnings: readonly ConfigIssue[];
      /** For mistakes that only show elsewhere, in files it names. */
      readonly source: ConfigSource;
    }
  | {
      readonly ok: false;
      readonly issues: readonly ConfigIssue[];
      readonly warnings: readonly ConfigIssue[];
    };

const BUILT_IN_SCHEDULERS = Object.keys(SCHEDULERS);

/** With those of which a file has to say more. */
const NAMED_APPLICATIONS = [...APPLICATION_NAMES, ...Object.keys(UNKNOWN_PROTOCOLS)];

/** The schema with the schedulers and application modules this build has. */
export const configSchema = configFileSchema(BUILT_IN_SCHEDULERS, NAMED_APPLICATIONS);

/**
 * Read and judge the text of a configuration file.
 * @param directory - what paths in it are relative to
 */
export function parseConfig(text: string, directory = "."): ConfigResult {
  const source = new ConfigSource(text);
  const parsed = source.parse();
  if ("issues" in parsed) return { ok: false, issues: inOrder(parsed.issues), warnings: [] };
  const plugins = pluginNames(recordOf(parsed.data).schedulers);
  const own = ownApplicationNames(recordOf(parsed.data).applications);
  const schema =
    plugins.length + own.length === 0
      ? configSchema
      : configFileSchema([...BUILT_IN_SCHEDULERS, ...plugins], [...new Set([...own, ...NAMED_APPLICATIONS])]);
  const shape = schema.safeParse(parsed.data);
  const relations = checkRelations(parsed.data, source, BUILT_IN_SCHEDULERS);
  const warnings = inOrder(relations.warnings);
  if (!shape.success || relations.issues.length > 0) {
    const issues = shape.success
      ? []
      : shape.error.issues.slice(0, ISSUES_MAX).flatMap((issue) => explain(issue, parsed.data, source, []));
    return { ok: false, issues: inOrder([...issues, ...relations.issues]), warnings };
  }
  const { host, schedulers, applications, fastPath } = shape.data;
  const schedulerPlugins = schedulers.map(({ name, file }) => ({ name, file: resolve(directory, file) }));
  return {
    ok: true,
    config: {
      director: directorConfig(shape.data),
      host,
      fastPath,
      schedulerPlugins,
      applications: applications.map((one) =>
        one.kind === "module" ? { ...one, file: resolve(directory, one.file) } : one,
      ),
    },
    warnings,
    source,
  };
}

/**
 * Read and judge a file.
 * @param file - a path, or `-` for standard input
 */
export function loadConfig(file: string): ConfigResult {
  const refuse = (found: string, wanted: string): ConfigResult => ({
    ok: false,
    issues: [{ path: "", line: 0, column: 0, found, wanted, excerpt: "" }],
    warnings: [],
  });
  let bytes: Buffer;
  try {
    bytes = readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    return refuse((error as NodeJS.ErrnoException).message, "a readable configuration file");
  }
  if (bytes.length > CONFIG_BYTES_MAX) return refuse(`${bytes.length} bytes`, `at most ${CONFIG_BYTES_MAX}`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return parseConfig(text, file === "-" ? "." : dirname(file));
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return refuse("bytes that are not UTF-8", "text in UTF-8");
  }
}

function inOrder(issues: readonly ConfigIssue[]): ConfigIssue[] {
  return [...issues].sort((a, b) => a.line - b.line || a.column - b.column);
}

/** One zod issue as ours. Of a union's branches, the one that fits the kind of the value speaks. */
function explain(
  issue: z.core.$ZodIssue,
  data: unknown,
  source: ConfigSource,
  parent: readonly PathSegment[],
): ConfigIssue[] {
  const path = [...parent, ...(issue.path as PathSegment[])];
  const value = valueAt(data, path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.slice(0, ISSUES_MAX).map((key) => {
      return source.issueAtKey(
        path,
        key,
        `the unknown key ${describeValue(key)}`,
        wantedPhrase(issue.message, key),
      );
    });
  }
  if (issue.code === "invalid_key") {
    const key = String(path.at(-1));
    const wanted = issue.issues[0]?.message ?? issue.message;
    return [source.issueAtKey(path.slice(0, -1), key, `the name ${describeValue(key)}`, wanted)];
  }
  if (issue.code === "invalid_union") {
    const isCollection = value !== null && typeof value === "object";
    const branch = isCollection ? issue.errors.at(-1) : issue.errors[0];
    return (branch ?? []).flatMap((inner) => explain(inner, data, source, path));
  }
  return [source.issueAtValue(path, describeValue(value), wantedPhrase(issue.message, value))];
}

/** Adds "did you mean" to a phrase that lists the possible words. */
function wantedPhrase(wanted: string, found: unknown): string {
  const options = /^one of (.*)$/.exec(wanted)?.[1]?.split(", ");
  const suggestion = options && typeof found === "string" ? nearest(found, options) : undefined;
  return suggestion === undefined ? wanted : `${wanted} (did you mean ${suggestion}?)`;
}

const valueAt = (data: unknown, path: readonly PathSegment[]): unknown =>
  path.reduce<unknown>(
    (value, segment) => (value as Record<PathSegment, unknown> | undefined)?.[segment],
    data,
  );

function directorConfig({
  services,
  marks,
  masquerade,
  timeouts,
  limits,
  applications,
  ...settings
}: ConfigFile): DirectorConfig {
  const base = timeouts.profile === "ipvs" ? IPVS_TIMEOUTS : DEFAULT_TIMEOUTS;
  const tcp = { ...base.tcp, ...timeouts.tcp };
  return {
    services: services.map(serviceConfig),
    marks,
    masquerade: masquerade.map((rule) => ({ ...rule, sources: sourcesOf(rule.sources) })),
    ...(applications.length > 0 && { applications: applications.map(namesOf) }),
    settings: {
      timeouts: {
        tcp,
        secureTcp: { ...tcp, ...timeouts.secureTcp },
        udp: timeouts.udp ?? base.udp,
        sctp: { ...base.sctp, ...timeouts.sctp },
      },
      connectionsMax: limits.connections,
      repliesPerSecondMax: limits.repliesPerSecond,
      fragmentBytesMax: limits.fragmentMemory,
      fragmentTimeout: limits.fragmentTimeout,
      unserved: settings.unserved,
      answerEcho: settings.answerEcho,
      removal: settings.removedServers,
      ipvs: settings.ipvs,
    },
  };
}

function serviceConfig({
  listen,
  onePacket,
  removedServers,
  fullNat,
  app,
  servers,
  ...attributes
}: ConfigFile["services"][number]): ServiceConfig {
  const { family: _, ...key } = listen;
  return {
    ...key,
    ...attributes,
    ...(onePacket ? { isOnePacket: true } : {}),
    ...(fullNat === undefined ? {} : { fullNat: { ...fullNat, sources: sourcesOf(fullNat.sources) } }),
    ...(removedServers === undefined ? {} : { removal: removedServers }),
    ...(app === undefined ? {} : { app: app.module }),
    ...(app?.options === undefined ? {} : { appOptions: app.options }),
    destinations: servers.map(({ address: endpoint, ...options }) => {
      return { address: endpoint.address, port: endpoint.port ?? defaultPort(listen), ...options };
    }),
  };
}

/** What services and rules have to know of it. */
const namesOf = (one: OwnApplicationDefinition): OwnApplication => {
  const { name, transports } = one.kind === "trigger" ? one.trigger : one;
  return { name, transports };
};

/** Each address once. */
const sourcesOf = (pools: readonly PoolValue[]): string[] => [...new Set(pools.flatMap(addressesOf))];

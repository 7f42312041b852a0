/**
 * Relations between values, which no schema of single values can see: duplicates, address families, thresholds.
 *
 * It reads the raw data, not the parsed result, and skips what does not parse: so one wrong port in a file does not
 * hide a duplicate elsewhere, and all mistakes are reported at once.
 */
import { formatEndpoint, type ListenText, parseEndpoint, parseListen } from "./endpoint.ts";
import { type ConfigIssue, describeValue, type PathSegment } from "./issue.ts";
import { type ConfigSource, ISSUES_MAX } from "./source.ts";

type RawMapping = Readonly<Record<string, unknown>>;

export interface Relations {
  readonly issues: readonly ConfigIssue[];
  readonly warnings: readonly ConfigIssue[];
}

export function checkRelations(data: unknown, source: ConfigSource): Relations {
  const issues: ConfigIssue[] = [];
  const warnings: ConfigIssue[] = [];
  const services = arrayOf(recordOf(data).services).map(recordOf);
  const listens = services.map((service) => parsedOr(parseListen, service.listen));
  const virtualAddresses = new Set(
    listens.flatMap((listen) => (listen === undefined ? [] : [listen.address])),
  );

  const firstAt = new Map<string, PathSegment[]>();
  for (const [serviceIndex, service] of services.entries()) {
    if (issues.length + warnings.length > ISSUES_MAX) break;
    const path = ["services", serviceIndex];
    const listen = listens[serviceIndex];
    if (listen !== undefined) {
      const key = `${listen.protocol}://${formatEndpoint(listen.address, listen.port)}`;
      const listenPath = [...path, "listen"];
      issues.push(...duplicates(firstAt, key, listenPath, source, "service"));
    }
    issues.push(...checkFlags(service, path, source));
    issues.push(...checkServers(service, listen, path, virtualAddresses, source));
    warnings.push(...serviceWarnings(service, path, source));
  }
  if (services.length === 0 && Array.isArray(recordOf(data).services)) {
    warnings.push(source.issueAtValue(["services"], "an empty list", "services: nothing will be balanced"));
  }
  return { issues, warnings };
}

/** Schedulers that understand a flag; the rest would ignore it, which nobody can want. */
const SCHEDULERS_WITH_FLAG: Readonly<Record<string, readonly string[]>> = {
  "sh-port": ["sh"],
  "sh-fallback": ["sh"],
  "mh-port": ["mh", "maglev"],
  "mh-fallback": ["mh"],
};

function checkFlags(service: RawMapping, path: readonly PathSegment[], source: ConfigSource): ConfigIssue[] {
  const { scheduler = "wlc" } = service;
  return arrayOf(service.schedulerFlags).flatMap((flag, at) => {
    const able = typeof flag === "string" ? SCHEDULERS_WITH_FLAG[flag] : undefined;
    if (able === undefined || typeof scheduler !== "string" || able.includes(scheduler)) return [];
    const found = `${describeValue(flag)} with the scheduler ${describeValue(scheduler)}`;
    return [
      source.issueAtValue(
        [...path, "schedulerFlags", at],
        found,
        `the scheduler ${able.join(" or ")}, or no such flag`,
      ),
    ];
  });
}

function checkServers(
  service: RawMapping,
  listen: ListenText | undefined,
  servicePath: readonly PathSegment[],
  virtualAddresses: ReadonlySet<string>,
  source: ConfigSource,
): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const firstAt = new Map<string, PathSegment[]>();
  for (const [serverIndex, item] of arrayOf(service.servers).entries()) {
    if (issues.length > ISSUES_MAX) break;
    const path = [...servicePath, "servers", serverIndex];
    const server = typeof item === "string" ? { address: item } : recordOf(item);
    const addressPath = typeof item === "string" ? path : [...path, "address"];
    const endpoint = parsedOr(parseEndpoint, server.address);
    if (endpoint !== undefined) {
      const key = formatEndpoint(endpoint.address, endpoint.port ?? listen?.port ?? 0);
      issues.push(...duplicates(firstAt, key, addressPath, source, "server of this service"));
      if (listen !== undefined && listen.family !== endpoint.family) {
        const wanted = `an ${familyName(listen)} address, as the service has`;
        issues.push(source.issueAtValue(addressPath, familyName(endpoint), wanted));
      }
      if (virtualAddresses.has(endpoint.address)) {
        const wanted = "a real server, not one of the virtual addresses: packets would go round in circles";
        issues.push(source.issueAtValue(addressPath, describeValue(server.address), wanted));
      }
    }
    const { upperThreshold = 0, lowerThreshold = 0 } = server as {
      upperThreshold?: unknown;
      lowerThreshold?: unknown;
    };
    if (
      typeof upperThreshold === "number" &&
      typeof lowerThreshold === "number" &&
      lowerThreshold > upperThreshold
    ) {
      const wanted = `at most the upperThreshold, ${upperThreshold}`;
      issues.push(source.issueAtValue([...path, "lowerThreshold"], describeValue(lowerThreshold), wanted));
    }
  }
  return issues;
}

function serviceWarnings(
  service: RawMapping,
  path: readonly PathSegment[],
  source: ConfigSource,
): ConfigIssue[] {
  const warnings: ConfigIssue[] = [];
  if (service.app !== undefined) {
    const found = describeValue(service.app);
    const wanted =
      "nothing: this version has no application modules, so addresses inside the payload stay as they are";
    warnings.push(source.issueAtKey(path, "app", found, wanted));
  }
  const scheduler = service.scheduler;
  if (scheduler !== "rr" && scheduler !== "lc") return warnings;
  arrayOf(service.servers).forEach((item, serverIndex) => {
    const weight = recordOf(item).weight;
    if (typeof weight !== "number" || weight <= 1) return;
    const found = `weight ${weight} under the scheduler ${scheduler}, which looks only whether it is 0`;
    const wanted = `the scheduler w${scheduler}, or no weight`;
    warnings.push(source.issueAtValue([...path, "servers", serverIndex, "weight"], found, wanted));
  });
  return warnings;
}

function duplicates(
  firstAt: Map<string, PathSegment[]>,
  key: string,
  path: PathSegment[],
  source: ConfigSource,
  noun: string,
): ConfigIssue[] {
  // biome-ignore format: arguments in one row
  const first = firstAt.get(key);
  if (first === undefined) {
    firstAt.set(key, path);
    return [];
  }
  return [
    source.issueAtValue(
      path,
      `${key} again`,
      `each ${noun} once (the first is in line ${source.lineOf(first)})`,
    ),
  ];
}

const familyName = (endpoint: { family: string }): string => (endpoint.family === "ipv4" ? "IPv4" : "IPv6");

const arrayOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

function parsedOr<T>(
  parse: (text: string) => { value: T } | { wanted: string },
  input: unknown,
): T | undefined {
  const result = typeof input === "string" ? parse(input) : undefined;
  return result !== undefined && "value" in result ? result.value : undefined;
}

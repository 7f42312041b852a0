/** Relations between the values of one service, and between its servers and the rest of the file. */
import { moduleNamed } from "./application-schema.ts";
import { defaultPort, formatEndpoint, type ListenText, parseEndpoint } from "./endpoint.ts";
import { type ConfigIssue, describeValue, type PathSegment } from "./issue.ts";
import { checkApplicationName } from "./own-application-relations.ts";
import { arrayOf, duplicates, familyName, parsedOr, type RawMapping, recordOf } from "./raw.ts";
import type { Survey } from "./relations.ts";
import { type ConfigSource, ISSUES_MAX } from "./source.ts";

/** Schedulers that understand a flag; the rest would ignore it, which nobody can want. */
const SCHEDULERS_WITH_FLAG: Readonly<Record<string, readonly string[]>> = {
  "sh-port": ["sh"],
  "sh-fallback": ["sh"],
  "mh-port": ["mh", "maglev"],
  "mh-fallback": ["mh"],
};

/** Options that do not go with the service's protocol, its family or each other. */
export function checkOptions(
  service: RawMapping,
  listen: ListenText | undefined,
  path: readonly PathSegment[],
  { source, applications, transportsOf }: Survey,
): ConfigIssue[] {
  const issues = checkFlags(service, path, source);
  const name = moduleNamed(service.app);
  if (name !== undefined) {
    const at = typeof service.app === "string" ? ["app"] : ["app", "module"];
    issues.push(...checkApplicationName(name, [...path, ...at], applications, source));
  }
  if (listen === undefined) return issues;
  const { protocol } = listen;
  const isDatagrams = protocol === "udp" || protocol === "fwmark";
  const at = (key: string, found: string, wanted: string) => {
    issues.push(source.issueAtValue([...path, ...key.split(".")], found, wanted));
  };
  if (service.onePacket === true) {
    if (!isDatagrams) at("onePacket", `a ${protocol} service`, "a udp or fwmark service, or no onePacket");
    else if (service.fullNat !== undefined)
      at("onePacket", "fullNat as well", "one of the two: nothing would remember what to translate back");
  }
  const { netmask, engine } = recordOf(service.persistence);
  if (typeof netmask === "string" && listen.family === "ipv6")
    at(
      "persistence.netmask",
      describeValue(netmask),
      "a prefix length from 1 to 128, as the service is IPv6",
    );
  if (typeof netmask === "number" && listen.family === "ipv4")
    at("persistence.netmask", String(netmask), "a mask such as 255.255.255.0, as the service is IPv4");
  if (engine === "sip" && !isDatagrams)
    at("persistence.engine", `sip for a ${protocol} service`, "a udp or fwmark service, or no engine");
  if (service.proxyProtocol !== undefined && protocol !== "tcp")
    at("proxyProtocol", `a ${protocol} service`, "a tcp service, or no proxyProtocol");
  if (service.app !== undefined) {
    const transports = transportsOf(name ?? "");
    if (protocol !== "fwmark" && transports !== undefined && !transports.includes(protocol))
      at("app", `a ${protocol} service`, `a ${transports.join(" or ")} service, or no app`);
    else if (service.onePacket === true) at("app", "onePacket as well", "one of the two");
    else if (service.proxyProtocol !== undefined) at("app", "proxyProtocol as well", "one of the two");
  }
  return issues;
}

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

export function checkServers(
  service: RawMapping,
  listen: ListenText | undefined,
  servicePath: readonly PathSegment[],
  { isVirtual, source }: Survey,
): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const firstAt = new Map<string, readonly PathSegment[]>();
  for (const [serverIndex, item] of arrayOf(service.servers).entries()) {
    if (issues.length > ISSUES_MAX) break;
    const path = [...servicePath, "servers", serverIndex];
    const server = typeof item === "string" ? { address: item } : recordOf(item);
    const addressPath = typeof item === "string" ? path : [...path, "address"];
    const endpoint = parsedOr(parseEndpoint, server.address);
    if (endpoint !== undefined) {
      const port = endpoint.port ?? (listen === undefined ? 0 : defaultPort(listen));
      const key = port === 0 ? endpoint.address : formatEndpoint(endpoint.address, port);
      issues.push(...duplicates(firstAt, key, addressPath, source, "server of this service"));
      if (listen !== undefined && listen.family !== endpoint.family) {
        const wanted = `an ${familyName(listen)} address, as the service has`;
        issues.push(source.issueAtValue(addressPath, familyName(endpoint), wanted));
      }
      if (isVirtual(endpoint.address)) {
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

export function serviceWarnings(
  service: RawMapping,
  listen: ListenText | undefined,
  path: readonly PathSegment[],
  source: ConfigSource,
): ConfigIssue[] {
  const warnings: ConfigIssue[] = [];
  if (listen?.port === 0 && listen.mark === undefined && service.persistence === undefined) {
    const wanted =
      "persistence, without which connections of one client to several ports go to several servers (IPVS insists on it)";
    warnings.push(source.issueAtValue([...path, "listen"], "all ports without persistence", wanted));
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

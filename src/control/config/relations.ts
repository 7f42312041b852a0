/**
 * Relations between values, which no schema of single values can see: duplicates, address families, thresholds.
 *
 * They are read from the raw data, not the parsed result, and what does not parse is skipped: so one wrong port in a
 * file does not hide a duplicate elsewhere, and all mistakes are reported at once.
 */

import { parseAddress as wordsOf } from "../../wire/address.ts";
import { isInPrefix, type Prefix, parsePrefix as prefixOf } from "../../wire/prefix.ts";
import { formatListen, type ListenText, parseEndpoint, parseListen } from "./endpoint.ts";
import type { ConfigIssue, PathSegment } from "./issue.ts";
import { parseUnicastPrefix } from "./network.ts";
import {
  checkOwnApplications,
  checkRuleApplications,
  type TransportsOf,
  transportsIn,
} from "./own-application-relations.ts";
import { arrayOf, duplicates, parsedOr, type RawMapping, recordOf } from "./raw.ts";
import { checkMarks, checkMasquerade, checkSources } from "./rule-relations.ts";
import { MARK_RULES_MAX } from "./rule-schema.ts";
import { checkOptions, checkServers, serviceWarnings } from "./service-relations.ts";
import { type ConfigSource, ISSUES_MAX } from "./source.ts";

export interface Relations {
  readonly issues: readonly ConfigIssue[];
  readonly warnings: readonly ConfigIssue[];
}

/** What the whole file says, as far as it can be read. */
export interface Survey {
  readonly source: ConfigSource;
  readonly services: readonly RawMapping[];
  /** By service; undefined: not readable. */
  readonly listens: readonly (ListenText | undefined)[];
  readonly marks: readonly RawMapping[];
  readonly masquerade: readonly RawMapping[];
  readonly applications: RawMapping;
  readonly transportsOf: TransportsOf;
  /** Do clients send to it? A virtual address, or one that a mark rule is about. */
  isVirtual(address: string): boolean;
  readonly serverAddresses: ReadonlySet<string>;
}

/** @param schedulers - the built-in ones */
export function checkRelations(
  data: unknown,
  source: ConfigSource,
  schedulers: readonly string[],
): Relations {
  const survey = surveyOf(recordOf(data), source);
  const { services, listens } = survey;
  const issues = [
    ...checkListens(survey),
    ...checkPlugins(recordOf(data).schedulers, schedulers, source),
    ...checkOwnApplications(survey.applications, source),
    ...checkRuleApplications(survey.masquerade, survey.applications, source),
  ];
  const warnings: ConfigIssue[] = [];
  for (const [index, service] of services.entries()) {
    if (issues.length + warnings.length > ISSUES_MAX) break;
    const path = ["services", index];
    issues.push(...checkOptions(service, listens[index], path, survey));
    issues.push(...checkServers(service, listens[index], path, survey));
    warnings.push(...serviceWarnings(service, listens[index], path, source));
  }
  const marks = checkMarks(survey);
  issues.push(...checkSources(survey), ...marks.issues, ...checkMasquerade(survey));
  warnings.push(...marks.warnings);
  if (services.length === 0 && survey.masquerade.length === 0 && Array.isArray(recordOf(data).services)) {
    warnings.push(source.issueAtValue(["services"], "an empty list", "services: nothing will be balanced"));
  }
  return { issues, warnings };
}

function surveyOf(data: RawMapping, source: ConfigSource): Survey {
  const services = arrayOf(data.services).map(recordOf);
  const listens = services.map((service) => parsedOr(parseListen, service.listen));
  const marks = arrayOf(data.marks).slice(0, MARK_RULES_MAX).map(recordOf);
  const virtualAddresses = new Set(
    listens.flatMap((listen) => (listen === undefined || listen.mark !== undefined ? [] : [listen.address])),
  );
  const marked = marks.flatMap(({ destination }): Prefix[] => {
    const prefix = parsedOr(parseUnicastPrefix, destination);
    return prefix === undefined ? [] : [prefixOf(prefix.text)!];
  });
  const servers = services.flatMap((service) => arrayOf(service.servers));
  const serverAddresses = servers.flatMap((server) => {
    const text = typeof server === "string" ? server : recordOf(server).address;
    return parsedOr(parseEndpoint, text)?.address ?? [];
  });
  const isMarked = (address: string): boolean => {
    const { family, words } = wordsOf(address)!;
    return marked.some((prefix) => prefix.family === family && isInPrefix(prefix, words, 0));
  };
  return {
    source,
    services,
    listens,
    marks,
    masquerade: arrayOf(data.masquerade).map(recordOf),
    applications: recordOf(data.applications),
    transportsOf: transportsIn(recordOf(data.applications)),
    isVirtual: (address) => virtualAddresses.has(address) || (marked.length > 0 && isMarked(address)),
    serverAddresses: new Set(serverAddresses),
  };
}

/** Each service once, and no port of an address in two of them; all ports means those that nobody else has. */
function checkListens({ listens, source }: Survey): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const firstAt = new Map<string, readonly PathSegment[]>();
  const ranges = new Map<string, { listen: ListenText; path: PathSegment[] }[]>();
  for (const [index, listen] of listens.entries()) {
    if (listen === undefined) continue;
    if (issues.length > ISSUES_MAX) return issues;
    const path = ["services", index, "listen"];
    const again = duplicates(firstAt, formatListen(listen), path, source, "service");
    issues.push(...again);
    if (again.length > 0 || listen.port === 0) continue;
    const place = `${listen.protocol} ${listen.address}`;
    const others = ranges.get(place) ?? [];
    others.push({ listen, path });
    ranges.set(place, others);
  }
  for (const list of ranges.values()) {
    list.sort((a, b) => a.listen.port - b.listen.port);
    let widest = list[0]!;
    for (const one of list.slice(1)) {
      if (issues.length > ISSUES_MAX) return issues;
      if (one.listen.port <= lastPortOf(widest.listen)) {
        const found = `${formatListen(one.listen)}, which shares ports with ${formatListen(widest.listen)}`;
        const wanted = `each port of an address in one service (the other is in line ${source.lineOf(widest.path)})`;
        issues.push(source.issueAtValue(one.path, found, wanted));
      }
      if (lastPortOf(one.listen) > lastPortOf(widest.listen)) widest = one;
    }
  }
  return issues;
}

const lastPortOf = ({ port, lastPort = port }: ListenText): number => lastPort;

function checkPlugins(plugins: unknown, builtIn: readonly string[], source: ConfigSource): ConfigIssue[] {
  return Object.keys(recordOf(plugins))
    .filter((name) => builtIn.includes(name))
    .map((name) => source.issueAtKey(["schedulers"], name, name, "another name: this scheduler is built in"));
}

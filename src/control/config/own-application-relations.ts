/** Relations of application modules of the operator's own: to what is built in, to what is not known of a protocol, to each other. */
import { TRIGGERS, UNKNOWN_PROTOCOLS, type UnknownProtocol } from "../../alg/presets.ts";
import { APPLICATION_NAMES, transportsOf } from "../../alg/registry.ts";
import { type ConfigIssue, describeValue, type PathSegment } from "./issue.ts";
import { parsePorts } from "./network.ts";
import { CONTROL_PORTS_MAX, ownApplicationNames } from "./own-application-schema.ts";
import { arrayOf, type RawMapping, recordOf } from "./raw.ts";
import { type ConfigSource, ISSUES_MAX } from "./source.ts";

/** What connections a module of a name in the file is for; undefined: unknown, or not to be told. */
export type TransportsOf = (name: string) => readonly string[] | undefined;

/** @param applications - raw, as in the file */
export function transportsIn(applications: RawMapping): TransportsOf {
  return (name) => {
    const built = transportsOf(name);
    if (built !== undefined) return built;
    const { transport, preset } = recordOf(applications[name]);
    if (transport !== undefined)
      return typeof transport === "string" ? [transport] : arrayOf(transport).map(String);
    return TRIGGERS.find((one) => one.name === preset)?.transports;
  };
}

export function checkOwnApplications(applications: RawMapping, source: ConfigSource): ConfigIssue[] {
  return ownApplicationNames(applications).flatMap((name) => {
    const definition = applications[name];
    return typeof definition === "object" && definition !== null
      ? checkOne(name, recordOf(definition), source)
      : [];
  });
}

function checkOne(name: string, definition: RawMapping, source: ConfigSource): ConfigIssue[] {
  const path = ["applications", name];
  if (APPLICATION_NAMES.includes(name))
    return [source.issueAtKey(["applications"], name, name, "another name: this module is built in")];
  const { module, preset = name, opens } = definition;
  const issues: ConfigIssue[] = [];
  const range = parsePorts(definition.ports);
  if ("value" in range && range.value.last - range.value.first >= CONTROL_PORTS_MAX)
    issues.push(
      source.issueAtValue(
        [...path, "ports"],
        describeValue(definition.ports),
        `at most ${CONTROL_PORTS_MAX} ports`,
      ),
    );
  if (module !== undefined) {
    for (const key of ["preset", "opens"].filter((one) => definition[one] !== undefined))
      issues.push(
        source.issueAtKey(path, key, `${key} and a module`, "one of the two: a module announces by itself"),
      );
  }
  const unknown = module === undefined ? UNKNOWN_PROTOCOLS[String(preset)] : undefined;
  const isKnown = module === undefined && TRIGGERS.some((one) => one.name === preset);
  // That there is no such preset is said already.
  if (definition.preset !== undefined && !isKnown && unknown === undefined) return issues;
  const needed = [
    ...(isKnown ? [] : ["transport", "ports"]),
    ...(isKnown || module !== undefined || unknown?.opens !== undefined ? [] : ["opens"]),
  ];
  const missing = needed.filter((key) => definition[key] === undefined);
  if (missing.length === 0) return issues;
  const found = `no ${missing.join(", no ")}`;
  const wanted =
    unknown === undefined
      ? `${needed.join(", ")}${opens === undefined && module === undefined ? ", or a preset" : ""}`
      : `${missing.join(", ")} as well; ${unknownOf(unknown)}`;
  issues.push(source.issueAtKey(["applications"], name, found, wanted));
  return issues;
}

const unknownOf = ({ what, unknown }: UnknownProtocol): string => `not known of ${what}: ${unknown}`;

/** A service or a rule names a protocol that is known by its name only, and that the file does not define. */
export function checkApplicationName(
  name: string,
  path: readonly PathSegment[],
  applications: RawMapping,
  source: ConfigSource,
): ConfigIssue[] {
  const unknown = UNKNOWN_PROTOCOLS[name];
  if (unknown === undefined || applications[name] !== undefined) return [];
  const opens = unknown.opens === undefined ? ", opens: [...]" : "";
  const definition = `applications: { ${name}: { transport: tcp, ports: PORT${opens} } }`;
  const wanted = `${definition} as well; ${unknownOf(unknown)}`;
  return [source.issueAtValue(path, describeValue(name), wanted)];
}

/** Of the modules that masquerade rules name. */
export function checkRuleApplications(
  masquerade: readonly RawMapping[],
  applications: RawMapping,
  source: ConfigSource,
): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  for (const [index, rule] of masquerade.entries()) {
    for (const [at, name] of arrayOf(rule.apps).entries()) {
      if (issues.length > ISSUES_MAX) return issues;
      if (typeof name === "string")
        issues.push(...checkApplicationName(name, ["masquerade", index, "apps", at], applications, source));
    }
  }
  return issues;
}

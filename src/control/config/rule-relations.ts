/** Relations of mark rules, masquerade rules and the director's own source addresses to the rest of the file. */
import type { AddressFamily } from "./endpoint.ts";
import { type ConfigIssue, describeValue, type PathSegment } from "./issue.ts";
import { addressesOf, parsePool, parsePrefix, parseUnicastPrefix, SOURCE_ADDRESSES_MAX } from "./network.ts";
import { arrayOf, familyName, parsedOr, recordOf } from "./raw.ts";
import type { Relations, Survey } from "./relations.ts";
import { ISSUES_MAX } from "./source.ts";

/** The director's own addresses, of full NAT and of masquerade: no real server's, and not too many in all. */
export function checkSources({
  services,
  masquerade,
  listens,
  serverAddresses,
  source,
}: Survey): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  const known = new Set<string>();
  let count = 0;
  const check = (pools: unknown, path: readonly PathSegment[], family: AddressFamily | undefined) => {
    for (const [index, text] of arrayOf(pools).entries()) {
      const pool = parsedOr(parsePool, text);
      if (pool === undefined || count > SOURCE_ADDRESSES_MAX || issues.length > ISSUES_MAX) continue;
      const at = [...path, index];
      if (family !== undefined && pool.family !== family) {
        const wanted = `an ${familyName({ family })} address, as the ${path[0] === "services" ? "service" : "rule"} has`;
        issues.push(source.issueAtValue(at, familyName(pool), wanted));
      }
      const key = `${pool.family} ${pool.first} ${pool.count}`;
      if (known.has(key)) continue;
      known.add(key);
      count += pool.count;
      const server = addressesOf(pool).find((address) => serverAddresses.has(address));
      if (server !== undefined)
        issues.push(source.issueAtValue(at, `${server}, a real server`, "an address of the director's own"));
      if (count > SOURCE_ADDRESSES_MAX) {
        const found = `${count} source addresses up to here`;
        issues.push(source.issueAtValue(at, found, `at most ${SOURCE_ADDRESSES_MAX} in all`));
      }
    }
  };
  for (const [index, service] of services.entries())
    check(
      recordOf(service.fullNat).sources,
      ["services", index, "fullNat", "sources"],
      listens[index]?.family,
    );
  for (const [index, rule] of masquerade.entries())
    check(rule.sources, ["masquerade", index, "sources"], familyOfRule(rule.from));
  return issues;
}

/** A mark is of use where a rule gives it and a service takes it. */
export function checkMarks({ marks, listens, source }: Survey): Relations {
  const issues: ConfigIssue[] = [];
  const warnings: ConfigIssue[] = [];
  const served = new Set(
    listens.flatMap((it) => (it?.mark === undefined ? [] : [`${it.family} ${it.mark}`])),
  );
  const given = new Set<string>();
  for (const [index, rule] of marks.entries()) {
    if (issues.length + warnings.length > ISSUES_MAX) break;
    const destination = parsedOr(parseUnicastPrefix, rule.destination);
    const from = parsedOr(parsePrefix, rule.source);
    if (destination === undefined) continue;
    const path = ["marks", index];
    if (from !== undefined && from.family !== destination.family) {
      const wanted = `an ${familyName(destination)} prefix, as the destination has`;
      issues.push(source.issueAtValue([...path, "source"], familyName(from), wanted));
    }
    const key = `${destination.family} ${rule.mark}`;
    given.add(key);
    if (typeof rule.mark === "number" && !served.has(key)) {
      const wanted = `a service ${markListen(destination.family, rule.mark)}, without which the mark means nothing`;
      warnings.push(source.issueAtValue([...path, "mark"], `mark ${rule.mark} without a service`, wanted));
    }
  }
  for (const [index, listen] of listens.entries()) {
    if (listen?.mark === undefined || given.has(`${listen.family} ${listen.mark}`)) continue;
    if (warnings.length > ISSUES_MAX) break;
    const found = `no ${familyName(listen)} rule that gives mark ${listen.mark}`;
    const wanted = "one in marks, without which no packet comes to this service";
    warnings.push(source.issueAtValue(["services", index, "listen"], found, wanted));
  }
  return { issues, warnings };
}

export function checkMasquerade({ masquerade, isVirtual, source }: Survey): ConfigIssue[] {
  const issues: ConfigIssue[] = [];
  for (const [index, rule] of masquerade.entries()) {
    const family = familyOfRule(rule.from);
    const path = ["masquerade", index];
    const prefixes = arrayOf(rule.from).map((text, at) => ({ text, path: [...path, "from", at] }));
    for (const { text, path: at } of [...prefixes, { text: rule.to, path: [...path, "to"] }]) {
      const prefix = parsedOr(parsePrefix, text);
      if (prefix === undefined || family === undefined || prefix.family === family) continue;
      const wanted = `an ${familyName({ family })} prefix, as the rule's first`;
      issues.push(source.issueAtValue(at, familyName(prefix), wanted));
    }
    for (const { text, path: at } of prefixes) {
      const prefix = parsedOr(parsePrefix, text);
      if (prefix === undefined || !isVirtual(prefix.text.split("/")[0]!)) continue;
      const wanted = "hosts behind the director, not virtual addresses";
      issues.push(source.issueAtValue(at, describeValue(text), wanted));
    }
    if (issues.length > ISSUES_MAX) break;
  }
  return issues;
}

/** Its first prefix says it. */
const familyOfRule = (from: unknown): AddressFamily | undefined =>
  parsedOr(parsePrefix, arrayOf(from)[0])?.family;

const markListen = (family: AddressFamily, mark: number): string =>
  `${family === "ipv4" ? "fwmark" : "fwmark6"}://${mark}`;

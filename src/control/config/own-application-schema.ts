/**
 * Application modules of the operator's own in a configuration file: port triggers, and modules in JavaScript or TypeScript.
 * `applications: { webcam: { transport: tcp, ports: 7000, opens: [...] }, mine: { module: ./mine.ts, ... } }`
 */
import * as z from "zod";
import { OPENINGS_MAX, type Opening, type Trigger } from "../../alg/engine/trigger.ts";
import { TRIGGERS, UNKNOWN_PROTOCOLS } from "../../alg/presets.ts";
import type { PortRange } from "../../nat/configuration.ts";
import { APPLICATION_NAME_PATTERN } from "./application-name.ts";
import { PORTS_PATTERN, parsePorts } from "./network.ts";
import type { Parsed } from "./parsed.ts";
import { DURATION_PATTERN, parseDuration } from "./quantity.ts";
import { ports } from "./rule-schema.ts";
import { moduleFile } from "./scheduler-schema.ts";
import { choice, leaf, list, mapping } from "./value.ts";

export const OWN_APPLICATIONS_MAX = 64;
/** Of a control connection: a masquerade rule looks for each. */
export const CONTROL_PORTS_MAX = 1024;
const LIFETIME_SECONDS_MAX = 86_400;

export type OwnApplicationDefinition =
  | { readonly kind: "trigger"; readonly trigger: Trigger }
  | {
      readonly kind: "module";
      readonly name: string;
      readonly transports: readonly ("tcp" | "udp")[];
      readonly ports: PortRange;
      /** Path of the module; in the file, relative to it. */
      readonly file: string;
    };

const PRESET_NAMES = [...TRIGGERS.map(({ name }) => name), ...Object.keys(UNKNOWN_PROTOCOLS)];
const transport = (description: string) => choice(["tcp", "udp"], description);

const secondaryPorts = leaf(
  {
    anyOf: [
      { const: "same" },
      { type: "integer", minimum: 1, maximum: 65_535 },
      { type: "string", pattern: PORTS_PATTERN },
    ],
    description:
      "Ports of whoever is connected to: one, FIRST-LAST, or same: its port of the control connection.",
  },
  (input): Parsed<PortRange | "same"> => {
    if (input === "same") return { value: input };
    const parsed = parsePorts(input);
    return "wanted" in parsed ? { wanted: `${parsed.wanted}, or same` } : parsed;
  },
);

const lifetime = leaf(
  {
    anyOf: [
      { type: "integer", minimum: 1, maximum: LIFETIME_SECONDS_MAX },
      { type: "string", pattern: DURATION_PATTERN },
    ],
    description: "How long they may come. Default: as long as the control connection lives.",
  },
  (input): Parsed<number> => {
    const parsed = parseDuration(input);
    return "value" in parsed && parsed.value > LIFETIME_SECONDS_MAX ? { wanted: "at most 1 day" } : parsed;
  },
);

const opening = mapping(
  {
    by: choice(["server", "client"], "Who opens these connections."),
    transport: transport("What they are of."),
    ports: secondaryPorts,
    from: choice(["peer", "anyone"], "Who may: whoever the control connection is with, or anyone.").default(
      "peer",
    ),
    lifetime: lifetime.exactOptional(),
  },
  "Connections that a control connection makes way for.",
).transform(({ by, transport: of, ports: range, from, lifetime: seconds }): Opening => {
  return {
    by,
    transport: of,
    ports: range,
    ...(from === "anyone" && { isFromAnyone: true }),
    ...(seconds !== undefined && { seconds }),
  };
});

const definition = mapping(
  {
    preset: choice(PRESET_NAMES, "What is not said here is as in this preset.").exactOptional(),
    module: moduleFile("Module that reads and announces").exactOptional(),
    transport: z
      .union([
        transport("Of the control connection.").transform((one) => [one]),
        list(transport("One of them."), 2, "Of the control connection: either.", 1),
      ])
      .exactOptional(),
    ports: ports(
      "Ports of the control connection, for masquerade rules: one, or FIRST-LAST.",
    ).exactOptional(),
    opens: list(opening, OPENINGS_MAX, "What a control connection makes way for.", 1).exactOptional(),
  },
  "An application module of your own: a port trigger, or a module in JavaScript or TypeScript.",
);

export const ownApplications = z
  .record(
    z.string().regex(new RegExp(APPLICATION_NAME_PATTERN), {
      error: "a name of 1 to 15 small letters, digits and -",
    }),
    definition,
    { error: "a mapping of names to modules" },
  )
  .refine((all) => Object.keys(all).length <= OWN_APPLICATIONS_MAX, {
    error: `at most ${OWN_APPLICATIONS_MAX}`,
  })
  .transform((all) => Object.entries(all).map(([name, values]) => definitionOf(name, values)))
  .meta({ description: "Application modules of your own, by name.", maxProperties: OWN_APPLICATIONS_MAX });

const NO_PORTS: PortRange = { first: 0, last: 0 };

/** What own-application-relations.ts insists on is there. */
function definitionOf(
  name: string,
  { preset = name, module, transport: own, ports: range, opens }: z.output<typeof definition>,
): OwnApplicationDefinition {
  const known = TRIGGERS.find((one) => one.name === preset);
  const transports = own ?? known?.transports ?? [];
  const control = range ?? known?.ports ?? NO_PORTS;
  if (module !== undefined) return { kind: "module", name, transports, ports: control, file: module };
  const trigger = {
    name,
    transports,
    ports: control,
    opens: opens ?? known?.opens ?? UNKNOWN_PROTOCOLS[preset]?.opens ?? [],
  };
  return { kind: "trigger", trigger };
}

/** Names in the raw data, as far as they are names. */
export const ownApplicationNames = (applications: unknown): string[] =>
  applications !== null && typeof applications === "object"
    ? Object.keys(applications)
        .filter((name) => new RegExp(APPLICATION_NAME_PATTERN).test(name))
        .slice(0, OWN_APPLICATIONS_MAX)
    : [];

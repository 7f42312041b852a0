/**
 * The shape of edits as they come from outside, value by value; whether they can be made is judged in layer-edit.ts. Names of
 * schedulers, modules and engines, weights and thresholds are judged there too, because IPVS has errors of its own for them.
 */
import * as z from "zod";
import { seconds } from "../base/environment.ts";
import { REMOVAL_POLICIES, SCHEDULER_FLAGS } from "../nat/configuration.ts";
import { PASSIVE_RANGES_MAX, PROGRAMS_MAX } from "./config/application-schema.ts";
import { describeValue, formatPath, type PathSegment } from "./config/issue.ts";
import { SOURCE_ADDRESSES_MAX } from "./config/network.ts";
import type { Parsed } from "./config/parsed.ts";
import { choice, list, yesOrNo } from "./config/value.ts";
import type { Edit } from "./edit.ts";

export const EDITS_MAX = 10_000;
const TEXT_CHARACTERS_MAX = 255;

/** A mapping with exactly these keys. */
export const record = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys" ? `only ${Object.keys(shape).join(", ")}` : "a mapping",
  });
const text = z
  .string({ error: "text" })
  .max(TEXT_CHARACTERS_MAX, { error: `at most ${TEXT_CHARACTERS_MAX} characters` });
const number = z.number({ error: "a number" });

export const serviceKeyShape = {
  protocol: choice(["tcp", "udp", "sctp", "fwmark"], "By what it is found."),
  address: text,
  port: number,
  mark: number.optional(),
};

export const serviceValuesShape = {
  scheduler: text,
  schedulerFlags: list(choice(SCHEDULER_FLAGS, "A flag."), SCHEDULER_FLAGS.length, "Flags.").optional(),
  persistence: record({
    timeout: number.transform(seconds),
    netmask: text.optional(),
    engine: text.transform((name) => name as "sip").optional(), // judged with the scheduler's name
  }).optional(),
  isOnePacket: yesOrNo("One-packet scheduling.").optional(),
  lastPort: number.optional(),
  removal: choice(REMOVAL_POLICIES, "Connections of removed servers.").optional(),
  fullNat: record({
    sources: list(text, SOURCE_ADDRESSES_MAX, "Pool."),
    clients: choice(["all", "servers"], "Whose connections."),
  }).optional(),
  proxyProtocol: choice(["v2"], "Version.").optional(),
  app: text.optional(),
  appOptions: record({
    passivePorts: list(
      record({ server: text.optional(), first: number, last: number }),
      PASSIVE_RANGES_MAX,
      "FTP.",
    ).optional(),
    programs: list(number, PROGRAMS_MAX, "RPC.").optional(),
    mediaFrom: choice(["peer", "anyone"], "SIP, RTSP.").optional(),
    callers: choice(["peer", "anyone"], "H.323.").optional(),
  }).optional(),
};

export const serverKeyShape = { address: text, port: number };
export const serverValuesShape = { weight: number, upperThreshold: number, lowerThreshold: number };

export const serviceKey = record(serviceKeyShape);
const server = record({ ...serverKeyShape, ...serverValuesShape });
const attributes = record({ ...serviceKeyShape, ...serviceValuesShape });

const KINDS = [
  "add-service", "edit-service", "delete-service", "clear", "add-server", "edit-server", "delete-server", "set-timeouts",
] as const satisfies readonly Edit["kind"][]; // biome-ignore format: a list to read

const edit = z.discriminatedUnion(
  "kind",
  [
    record({ kind: z.literal("add-service"), service: attributes }),
    record({ kind: z.literal("edit-service"), service: attributes }),
    record({ kind: z.literal("delete-service"), service: serviceKey }),
    record({ kind: z.literal("clear") }),
    record({ kind: z.literal("add-server"), service: serviceKey, server }),
    record({ kind: z.literal("edit-server"), service: serviceKey, server }),
    record({ kind: z.literal("delete-server"), service: serviceKey, server: record(serverKeyShape) }),
    record({ kind: z.literal("set-timeouts"), tcp: number, tcpFin: number, udp: number }),
  ],
  { error: `an edit, its kind one of ${KINDS.join(", ")}` },
);

const editsBody = record({
  edits: list(edit, EDITS_MAX, "Edits.").min(1, { error: "at least one edit" }),
});

export const parseEdits = (body: unknown): Parsed<{ edits: Edit[] }> =>
  parsed(editsBody, body) as Parsed<{ edits: Edit[] }>;

/** The first mistake speaks: `edits[3].service.port: found "80", wanted a number`. */
export function parsed<T>(schema: z.ZodType<T>, data: unknown): Parsed<T> {
  const result = schema.safeParse(data);
  if (result.success) return { value: result.data };
  const issue = result.error.issues[0]!;
  const path = issue.path as PathSegment[];
  const found = path.reduce<unknown>(
    (value, key) => (value as Record<PathSegment, unknown> | undefined)?.[key],
    data,
  );
  const unknown =
    issue.code === "unrecognized_keys" ? `the key ${describeValue(issue.keys[0])}` : describeValue(found);
  const place = path.length === 0 ? "" : `${formatPath(path)}: `;
  return { wanted: `${place}found ${unknown}, wanted ${issue.message}` };
}

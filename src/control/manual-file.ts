/**
 * Changes made by hand, kept beside the control socket while there are any, so that they outlive a restart of the daemon as
 * IPVS's state outlives its tools. What is read is judged like anything from outside.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import * as z from "zod";
import { isSameService } from "../nat/virtual-service.ts";
import { DURATION_SECONDS_MAX } from "./config/quantity.ts";
import { choice, list } from "./config/value.ts";
import { checkedServerKey, checkedServiceKey, EditRefusal, isWhole } from "./edit-rules.ts";
import {
  parsed,
  serverKeyShape,
  serverValuesShape,
  serviceKeyShape,
  serviceValuesShape,
} from "./edit-schema.ts";
import { factCount, MANUAL_FACTS_MAX } from "./layer-edit.ts";
import { conflicts, type Layers, makeLayers } from "./layers.ts";
import type { Log } from "./log.ts";
import { manualChanges } from "./manual-changes.ts";
import { isSameServer, type ManualLayer, serverText, serviceText } from "./manual-layer.ts";

/** Some 250 bytes a fact, as long as nobody names a thousand sources in each. */
export const MANUAL_FILE_BYTES_MAX = 32 * 1024 * 1024;

/** What lies there cannot be used; the message says why. */
export class ManualFileError extends Error {
  override readonly name = "ManualFileError";
}

/** vsnat.sock's is vsnat.manual.json. */
export const manualFileOf = (socketPath: string): string =>
  `${socketPath.replace(/\.sock$/, "")}.manual.json`;

const since = z.iso.datetime({ error: "a time" });
/** Some of the values; null: absent. */
const patch = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject(
    Object.fromEntries(
      Object.entries(shape).map(([name, value]) => [name, z.nullable(value as z.ZodType).optional()]),
    ),
  );
const fact = <S extends z.ZodRawShape>(values: S, changed: z.ZodType, more: z.ZodRawShape = {}) =>
  z.discriminatedUnion("kind", [
    z.strictObject({ ...more, kind: z.literal("added"), values: z.strictObject(values), since }),
    z.strictObject({ ...more, kind: z.literal("changed"), values: changed, since }),
    z.strictObject({ ...more, kind: z.literal("removed"), since }),
  ]);
const { scheduler, ...optionalValues } = serviceValuesShape;
const timeout = z.number().optional();

const manualFile = z.strictObject({
  version: choice(["1"], "Of this layout."),
  services: list(
    z.strictObject({
      key: z.strictObject(serviceKeyShape),
      own: fact(
        serviceValuesShape,
        patch(optionalValues).extend({ scheduler: scheduler.optional() }),
      ).optional(),
      servers: list(
        fact(serverValuesShape, z.strictObject(serverValuesShape).partial(), serverKeyShape),
        MANUAL_FACTS_MAX,
        "Facts.",
      ),
    }),
    MANUAL_FACTS_MAX,
    "Services.",
  ),
  timeouts: z.strictObject({ tcp: timeout, tcpFin: timeout, udp: timeout, since }).optional(),
});

/**
 * @returns undefined when there is none
 * @throws ManualFileError
 */
export function readManualFile(path: string): ManualLayer | undefined {
  const text = readPrivately(path);
  if (text === undefined) return undefined;
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new ManualFileError(`it is not JSON (${(error as Error).message})`);
  }
  const result = parsed(manualFile, data);
  if ("wanted" in result) throw new ManualFileError(result.wanted);
  const { version: _, ...layer } = result.value;
  const manual = layer as unknown as ManualLayer; // patches have lost their names on the way
  const problem = problemOf(manual);
  if (problem !== undefined) throw new ManualFileError(problem);
  return manual;
}

/** @returns undefined when there is no such file. */
function readPrivately(path: string): string | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ManualFileError(`it cannot be read (${code})`);
  }
  try {
    const { uid, mode, size } = fstatSync(file);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw new ManualFileError("it is no regular file");
    if (uid !== process.getuid!()) throw new ManualFileError(`it belongs to user ${uid}, not to this one`);
    if ((mode & 0o077) !== 0) throw new ManualFileError("others may use it; wanted mode 0600");
    if (size > MANUAL_FILE_BYTES_MAX) {
      throw new ManualFileError(`it has ${size} bytes, wanted at most ${MANUAL_FILE_BYTES_MAX}`);
    }
    return readFileSync(file, "utf8");
  } finally {
    closeSync(file);
  }
}

/** What no daemon writes: keys in another form, or twice, more than there may be, timeouts beyond bounds. */
function problemOf(manual: ManualLayer): string | undefined {
  if (factCount(manual) > MANUAL_FACTS_MAX) return `it has more than ${MANUAL_FACTS_MAX} changes`;
  const seen = new Set<string>();
  const repeats = (name: string): boolean => seen.size === seen.add(name).size;
  try {
    for (const { key, servers } of manual.services) {
      const name = serviceText(key);
      if (!isSameService(checkedServiceKey(name, key), key)) return `${name} is not in canonical form`;
      if (repeats(name)) return `${name} is there twice`;
      for (const server of servers) {
        const subject = `${serverText(server)} of ${name}`;
        if (!isSameServer(checkedServerKey(subject, server), server))
          return `${subject} is not in canonical form`;
        if (repeats(subject)) return `${subject} is there twice`;
      }
    }
  } catch (error) {
    if (error instanceof EditRefusal) return error.message;
    throw error;
  }
  const { since: _, ...timeouts } = manual.timeouts ?? { since: "" };
  const wrong = Object.values(timeouts).find((value) => !isWhole(value, 1, DURATION_SECONDS_MAX));
  return wrong === undefined
    ? undefined
    : `a timeout is ${wrong}, wanted 1 to ${DURATION_SECONDS_MAX} seconds`;
}

/** Replace the file in one step; with nothing to keep, remove it. */
export function writeManualFile(path: string, manual: ManualLayer): void {
  if (manual.services.length === 0 && manual.timeouts === undefined) {
    rmSync(path, { force: true });
    return;
  }
  const fresh = `${path}.new`;
  rmSync(fresh, { force: true });
  writeFileSync(fresh, JSON.stringify({ version: "1", ...manual }), { mode: 0o600, flag: "wx" });
  renameSync(fresh, path);
}

/** Put a file that cannot be used out of the way. @returns where it is now */
export function setAside(path: string): string {
  const aside = `${path}.refused`;
  rmSync(aside, { force: true });
  renameSync(path, aside);
  return aside;
}

/** @returns the layers with what was changed by hand before the last stop, as far as there is something and it can be used. */
export function restoreLayers(layers: Layers, path: string, log: Log): Layers {
  try {
    const manual = readManualFile(path);
    if (manual === undefined) return layers;
    const restored = makeLayers(layers.file, layers.schedulers, manual);
    const problems = conflicts(restored);
    if (problems.length > 0) throw new ManualFileError(problems.join("; "));
    const { length } = manualChanges(restored);
    const advice = "vsnat status lists them, vsnat reload --discard-edits drops them";
    log("info", `${length} ${length === 1 ? "change" : "changes"} made by hand taken over; ${advice}`);
    return restored;
  } catch (error) {
    if (!(error instanceof ManualFileError)) throw error;
    const what = `Cannot take over what was changed by hand: ${path}: ${error.message}`;
    log("warning", `${what}. It is ${setAside(path)} now; the configuration file alone counts`);
    return layers;
  }
}

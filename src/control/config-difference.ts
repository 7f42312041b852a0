/** What differs between two configurations besides services and servers, and which of it has to wait for a start. */
import { isDeepStrictEqual } from "node:util";
import type { Config } from "./config/config.ts";

/** Host settings that belong to the device and cannot change under it. */
const FIXED_HOST_KEYS = [
  "device",
  "routingTable",
  "rulePriority",
  "queueLength",
  "processor",
  "controlSocket",
] as const;

/** What runs keeps what is fixed at its start. */
export function withFixedPart(wanted: Config, running: Config): Config {
  const { connectionsMax, fragmentBytesMax } = running.director.settings;
  const host = Object.fromEntries(
    FIXED_HOST_KEYS.flatMap((key) => (running.host[key] === undefined ? [] : [[key, running.host[key]]])),
  );
  return {
    director: {
      ...wanted.director,
      settings: { ...wanted.director.settings, connectionsMax, fragmentBytesMax },
    },
    host: { ...wanted.host, ...host },
    fastPath: running.fastPath,
    schedulerPlugins: wanted.schedulerPlugins,
    applications: wanted.applications,
  };
}

/** Settings that are read only at start, as far as they differ. */
export function restartPaths(running: Config, wanted: Config): string[] {
  const limits = (["connectionsMax", "fragmentBytesMax"] as const).filter(
    (key) => running.director.settings[key] !== wanted.director.settings[key],
  );
  const host = FIXED_HOST_KEYS.filter((key) => running.host[key] !== wanted.host[key]);
  const fastPath = running.fastPath === wanted.fastPath ? [] : ["fastPath"];
  return [...limits.map((key) => SETTING_PATHS[key]), ...fastPath, ...host.map((key) => `host.${key}`)];
}

/** What is neither a service nor a server and differs. */
export function changedPaths({ director: before }: Config, { director: after }: Config): string[] {
  const settings = (Object.keys(after.settings) as (keyof typeof after.settings)[]).filter(
    (key) => !isDeepStrictEqual(before.settings[key], after.settings[key]),
  );
  const rules = (["marks", "masquerade", "applications"] as const).filter(
    (key) => !isDeepStrictEqual(before[key], after[key]),
  );
  return [...settings.map((key) => SETTING_PATHS[key]), ...rules];
}

/** Where a director setting stands in the file. */
const SETTING_PATHS: Readonly<Record<keyof Config["director"]["settings"], string>> = {
  timeouts: "timeouts",
  connectionsMax: "limits.connections",
  unserved: "unserved",
  repliesPerSecondMax: "limits.repliesPerSecond",
  answerEcho: "answerEcho",
  removal: "removedServers",
  fragmentBytesMax: "limits.fragmentMemory",
  fragmentTimeout: "limits.fragmentTimeout",
  ipvs: "ipvs",
};

/** `vsnat export`: what the kernel shows of IPVS in /proc/net, for programs that read those files. */
import { Argument, Command } from "commander";
import { CONNECTIONS_LIMIT_MAX, type Connections } from "../api/connections.ts";
import type { Status } from "../api/operations.ts";
import type { ConnectionStatus } from "../control/director-status.ts";
import { ask } from "./control-client.ts";
import {
  procApplications,
  procConnectionOrigins,
  procConnections,
  procServices,
  procStats,
  procStatsPerProcessor,
} from "./proc-files.ts";

const status = () => ask<Status>("GET", "/v1/status");

async function connections(): Promise<readonly ConnectionStatus[]> {
  const path = `/v1/connections?limit=${CONNECTIONS_LIMIT_MAX}`;
  const { connections: list, count } = await ask<Connections>("GET", path);
  if (count > list.length) process.stderr.write(`${count - list.length} more connections are not listed\n`);
  return list;
}

const FILES: Readonly<Record<string, () => Promise<string>>> = {
  ip_vs: async () => procServices(await status()),
  ip_vs_conn: async () => procConnections(await connections()),
  ip_vs_conn_sync: async () => procConnectionOrigins(await connections()),
  ip_vs_stats: async () => procStats(await status()),
  ip_vs_stats_percpu: async () => procStatsPerProcessor(await status()),
  ip_vs_app: async () => procApplications(await status()),
};

export const command = (): Command =>
  new Command("export")
    .summary("print a file of IPVS in /proc/net as it would be")
    .description("Print what Linux IPVS shows in /proc/net, of the running daemon, in the same layout.")
    .addArgument(new Argument("<file>", "which one").choices(Object.keys(FILES)))
    .addHelpText("after", "\nExample:\n  vsnat export ip_vs_conn")
    .action(async (file: string) => {
      process.stdout.write(await FILES[file]!());
    });

/**
 * A scheduler of one's own for vsnat: least load per weight, but a server that has just come takes its full share only
 * after a minute. (wlc sends everything to a new server until it has caught up.)
 */
import type { NewConnection, SchedulerServer } from "vsnat";

const SLOW_START_MS = 60_000;
/** Nobody gets less than this part of its weight, so that a new server alone is used at all. */
const LEAST_SHARE = 0.05;

/** Those of the beginning have nobody to be slower than. */
let isBeginning = true;
/** When each server was first seen. Every service runs the module afresh, so this is the service's own. */
const sinceMs = new Map<SchedulerServer, number>();

export function changed(servers: readonly SchedulerServer[]): void {
  for (const server of sinceMs.keys()) if (!servers.includes(server)) sinceMs.delete(server);
}

export function pick(
  servers: readonly SchedulerServer[],
  { nowMs }: NewConnection,
): SchedulerServer | undefined {
  let best: SchedulerServer | undefined;
  let bestCost = Number.POSITIVE_INFINITY;
  for (const server of servers) {
    let since = sinceMs.get(server);
    if (since === undefined) {
      since = isBeginning ? nowMs - SLOW_START_MS : nowMs;
      sinceMs.set(server, since);
    }
    if (!server.isEligible) continue;
    const share = Math.min(1, Math.max(LEAST_SHARE, (nowMs - since) / SLOW_START_MS));
    const cost = (server.activeConnections + 1) / (server.weight * share);
    if (cost < bestCost) {
      best = server;
      bestCost = cost;
    }
  }
  isBeginning = false;
  return best;
}

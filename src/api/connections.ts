/** GET /v1/connections?limit=: entries of the connection table, in no particular order. */
import type { FastifyInstance } from "fastify";
import type { ConnectionStatus } from "../control/director-status.ts";
import type { Operations } from "./operations.ts";

const LIMIT_DEFAULT = 1000;
/** A million entries as JSON are some 200 MB, which would be held in memory twice. */
export const CONNECTIONS_LIMIT_MAX = 100_000;

export interface Connections {
  readonly connections: readonly ConnectionStatus[];
  /** Entries in the table, also those not listed. */
  readonly count: number;
}

const querystring = {
  type: "object",
  properties: {
    limit: { type: "integer", minimum: 1, maximum: CONNECTIONS_LIMIT_MAX, default: LIMIT_DEFAULT },
  },
  additionalProperties: false,
} as const;

export function connectionsResource(server: FastifyInstance, operations: Operations): void {
  server.get<{ Querystring: { limit: number } }>(
    "/v1/connections",
    { schema: { querystring } },
    async ({ query }): Promise<Connections> => {
      const connections = await operations.connections(query.limit);
      const { count } = (await operations.status()).connections;
      return { connections, count };
    },
  );
}

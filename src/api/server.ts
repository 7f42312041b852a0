/**
 * The admin API: JSON over HTTP on the control socket. One file per resource, its schema beside it; every error is
 * `{ "error": { "code", "message" } }`. There is no authentication but the socket's mode, 0600.
 */
import Fastify, { type FastifyInstance } from "fastify";
import { connectionsResource } from "./connections.ts";
import { editsResource } from "./edits.ts";
import { farewellResource } from "./farewell.ts";
import { ApiError, type Operations } from "./operations.ts";
import { reloadResource } from "./reload.ts";
import { statusResource } from "./status.ts";
import { syncDaemonsResource } from "./sync-daemons.ts";
import { traceResource } from "./trace.ts";
import { zeroResource } from "./zero.ts";

const BODY_BYTES_MAX = 1024 * 1024;

/** @param onFailure - told of errors that are ours, not the caller's */
export function createApi(operations: Operations, onFailure: (error: Error) => void): FastifyInstance {
  const server = Fastify({ bodyLimit: BODY_BYTES_MAX, forceCloseConnections: true });
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send(body("not-found", `There is no ${request.method} ${request.url} in this version`)),
  );
  server.setErrorHandler<Error & { statusCode?: number; code?: string }>((error, _, reply) => {
    if (error instanceof ApiError) {
      return reply.code(error.status).send(body(error.code, error.message, error.details));
    }
    const status = error.statusCode ?? 500;
    if (status >= 500) onFailure(error);
    return reply.code(status).send(body(status < 500 ? "bad-request" : "internal-error", error.message));
  });
  const resources = [
    statusResource,
    connectionsResource,
    editsResource,
    zeroResource,
    reloadResource,
    traceResource,
    syncDaemonsResource,
    farewellResource,
  ];
  for (const resource of resources) resource(server, operations);
  return server;
}

const body = (code: string, message: string, details?: unknown) => ({
  error: { code, message, ...(details === undefined ? {} : { details }) },
});

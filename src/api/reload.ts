/** POST /v1/reload: read the configuration file again, as SIGHUP does; the answer says what changed. */
import type { FastifyInstance } from "fastify";
import type { Operations } from "./operations.ts";

export function reloadResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/reload", () => operations.reload());
}

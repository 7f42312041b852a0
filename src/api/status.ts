/** GET /v1/status, /v1/services and /v1/settings: what is configured and how it goes. */
import type { FastifyInstance } from "fastify";
import type { Operations } from "./operations.ts";

export function statusResource(server: FastifyInstance, operations: Operations): void {
  server.get("/v1/status", () => operations.status());
  server.get("/v1/services", async () => ({ services: (await operations.status()).services }));
  server.get("/v1/settings", async () => operations.settings());
}

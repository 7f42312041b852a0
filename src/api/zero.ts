/** POST /v1/zero: counters of all services and servers start from zero; connections are not touched. */
import type { FastifyInstance } from "fastify";
import type { Operations } from "./operations.ts";

export function zeroResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/zero", async (_, reply) => {
    await operations.zero();
    return reply.code(204).send();
  });
}

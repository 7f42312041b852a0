/**
 * POST /v1/zero: counters of all services and servers start from zero, or those of the one service in the body;
 * connections are not touched.
 */
import type { FastifyInstance } from "fastify";
import { parsed, record, serviceKey } from "../control/edit-schema.ts";
import { badRequest, type Operations } from "./operations.ts";

const schema = record({ service: serviceKey.optional() });

export function zeroResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/zero", async (request, reply) => {
    const body = parsed(schema, request.body ?? {});
    if ("wanted" in body) throw badRequest(body.wanted);
    await operations.zero(body.value.service);
    return reply.code(204).send();
  });
}

/**
 * POST /v1/reload: read the configuration file again, as SIGHUP does; the answer says what changed. What was changed by hand
 * stays, unless the body says otherwise.
 */
import type { FastifyInstance } from "fastify";
import { yesOrNo } from "../control/config/value.ts";
import { parsed, record } from "../control/edit-schema.ts";
import { badRequest, type Operations } from "./operations.ts";

const schema = record({ discardEdits: yesOrNo("Drop what was changed by hand.").optional() });

export function reloadResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/reload", (request) => {
    const body = parsed(schema, request.body ?? {});
    if ("wanted" in body) throw badRequest(body.wanted);
    const { discardEdits = false } = body.value;
    return operations.reload({ discardEdits });
  });
}

/** POST /v1/edits: changes made by hand, as ipvsadm makes them; all that can be done is done in one step. */
import type { FastifyInstance } from "fastify";
import type { EditFailure } from "../control/edit.ts";
import { parseEdits } from "../control/edit-schema.ts";
import { badRequest, type Operations } from "./operations.ts";

/** As many edits as there may be, the largest of them. */
const BODY_BYTES_MAX = 8 * 1024 * 1024;

export interface EditOutcomes {
  /** In the order of the edits; null: done. */
  readonly outcomes: readonly (EditFailure | null)[];
}

export function editsResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/edits", { bodyLimit: BODY_BYTES_MAX }, async ({ body }): Promise<EditOutcomes> => {
    const parsed = parseEdits(body);
    if ("wanted" in parsed) throw badRequest(parsed.wanted);
    const outcomes = await operations.edit(parsed.value.edits);
    return { outcomes: outcomes.map((outcome) => outcome ?? null) };
  });
}

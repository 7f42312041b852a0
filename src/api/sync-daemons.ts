/**
 * /v1/sync-daemons: GET lists the synchronisation daemons that run; POST starts one, with ipvsadm's defaults for what is
 * not said; DELETE /v1/sync-daemons/:role stops it. `syncId` of the latter is ignored, as by IPVS: there is one a role.
 */
import type { FastifyInstance } from "fastify";
import * as z from "zod";
import { choice } from "../control/config/value.ts";
import { parsed, record } from "../control/edit-schema.ts";
import { type SyncDaemonStatus, SyncError } from "../control/sync-daemons.ts";
import { ApiError, badRequest, type Operations } from "./operations.ts";

const INTERFACE_CHARACTERS_MAX = 15;
const MESSAGE_BYTES_MAX = 65_507;

const integer = (least: number, most: number) =>
  z
    .int({ error: `an integer ${least}..${most}` })
    .min(least)
    .max(most);
const text = (charactersMax: number) => z.string({ error: "text" }).min(1).max(charactersMax);

const role = choice(["master", "backup"], "Sends or receives.");
const schema = record({
  role,
  interface: text(INTERFACE_CHARACTERS_MAX).default("eth0"),
  syncId: integer(0, 255).default(0),
  group: text(45).default("224.0.0.81"),
  port: integer(1, 65_535).default(8848),
  ttl: integer(1, 255).default(1),
  maxLength: integer(1, MESSAGE_BYTES_MAX).optional(),
});

export interface SyncDaemonList {
  readonly daemons: readonly SyncDaemonStatus[];
}

const HTTP_STATUS: Readonly<Partial<Record<string, number>>> = { EEXIST: 409, ESRCH: 404 };

export function syncDaemonsResource(server: FastifyInstance, { sync }: Operations): void {
  server.get("/v1/sync-daemons", async (): Promise<SyncDaemonList> => ({ daemons: await sync.list() }));

  server.post("/v1/sync-daemons", async (request, reply) => {
    const body = parsed(schema, request.body);
    if ("wanted" in body) throw badRequest(body.wanted);
    await sync.start(body.value).catch(asApiError);
    return reply.code(201).send();
  });

  server.delete<{ Params: { role: string } }>("/v1/sync-daemons/:role", async ({ params }, reply) => {
    const wanted = parsed(role, params.role);
    if ("wanted" in wanted) throw badRequest(wanted.wanted);
    await sync.stop(wanted.value).catch(asApiError);
    return reply.code(204).send();
  });
}

function asApiError(error: unknown): never {
  if (!(error instanceof SyncError)) throw error;
  throw new ApiError(HTTP_STATUS[error.code] ?? 422, error.code, error.message);
}

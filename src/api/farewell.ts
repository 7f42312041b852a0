/**
 * The daemon's end. POST /v1/stop ends it as SIGTERM does; with `flush` it keeps no connection and puts the host back in
 * any case. POST /v1/handover lets the process `pid` take over: the answer comes when this one moves no more packets, and it
 * ends when the caller hangs up.
 */
import type { FastifyInstance } from "fastify";
import * as z from "zod";
import { yesOrNo } from "../control/config/value.ts";
import { parsed, record } from "../control/edit-schema.ts";
import { badRequest, type Operations } from "./operations.ts";

const stopSchema = record({ flush: yesOrNo("Keep nothing.").optional() });
const handoverSchema = record({ pid: z.int({ error: "a process's number" }).min(1) });

export function farewellResource(server: FastifyInstance, operations: Operations): void {
  server.post("/v1/stop", async (request, reply) => {
    const body = parsed(stopSchema, request.body ?? {});
    if ("wanted" in body) throw badRequest(body.wanted);
    operations.stop({ flush: body.value.flush === true });
    return reply.code(202).send();
  });

  server.post("/v1/handover", async (request) => {
    const body = parsed(handoverSchema, request.body);
    if ("wanted" in body) throw badRequest(body.wanted);
    const hungUp = new Promise((resolve) => request.raw.socket.once("close", resolve));
    return await operations.handOver(body.value.pid, hungUp);
  });
}

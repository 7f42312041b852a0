/**
 * GET /v1/trace?filter=: packets as they pass, one JSON object a line, until the caller hangs up. A caller that reads
 * too slowly misses lines, which are counted in the next one's `lostCount`.
 */
import { PassThrough } from "node:stream";
import type { FastifyInstance } from "fastify";
import type { TraceLine } from "../control/datapath-protocol.ts";
import { parseTraceFilter } from "../control/trace-filter.ts";
import { ApiError, type Operations } from "./operations.ts";

const BUFFERED_BYTES_MAX = 1024 * 1024;

const querystring = {
  type: "object",
  properties: { filter: { type: "string", maxLength: 1000, default: "" } },
  additionalProperties: false,
} as const;

export function traceResource(server: FastifyInstance, operations: Operations): void {
  server.get<{ Querystring: { filter: string } }>(
    "/v1/trace",
    { schema: { querystring } },
    async ({ query }, reply) => {
      const filter = parseTraceFilter(query.filter);
      if ("wanted" in filter) throw new ApiError(400, "bad-filter", `A filter is ${filter.wanted}`);
      const stream = new PassThrough();
      let lostCount = 0;
      const stop = await operations.trace(filter.value, (line: TraceLine) => {
        if (stream.writableLength > BUFFERED_BYTES_MAX) {
          lostCount += 1 + line.lostCount;
          return;
        }
        stream.write(`${JSON.stringify({ ...line, lostCount: line.lostCount + lostCount })}\n`);
        lostCount = 0;
      });
      reply.raw.once("close", () => {
        stop();
        stream.destroy();
      });
      stream.write("\n"); // the headers go out now: whoever asked knows that the trace has begun
      return reply.type("application/x-ndjson").send(stream);
    },
  );
}

/** What the API makes of requests: every shape that is wrong is refused with words, the rest reaches the daemon. */
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Edit, EditOutcome } from "../control/edit.ts";
import { EDITS_MAX } from "../control/edit-schema.ts";
import type { ServiceKey } from "../nat/configuration.ts";
import { ApiError, type Operations } from "./operations.ts";
import { createApi } from "./server.ts";

const WEB: ServiceKey = { protocol: "tcp", address: "203.0.113.1", port: 80 };
const SERVER = { address: "10.0.0.1", port: 80, weight: 1, upperThreshold: 0, lowerThreshold: 0 };

let asked: unknown[];
let failures: Error[];
let api: FastifyInstance;

beforeEach(() => {
  asked = [];
  failures = [];
  const operations: Partial<Operations> = {
    edit: async (edits: readonly Edit[]): Promise<EditOutcome[]> => {
      asked.push(edits);
      return edits.map(({ kind }) =>
        kind === "clear" ? undefined : { code: "ESRCH", message: "no such service" },
      );
    },
    zero: async (service) => {
      asked.push(service);
      if (service?.port === 81) throw new ApiError(404, "ESRCH", "no such service");
    },
    reload: async (options) => {
      asked.push(options);
      throw new ApiError(409, "cannot-reload", "not today");
    },
    stop: (options) => asked.push(options),
    handOver: async (pid) => {
      asked.push(pid);
      return { pid: 77, descriptor: 5 };
    },
  };
  api = createApi(operations as Operations, (error) => failures.push(error));
});
afterEach(async () => {
  await api.close();
  expect(failures).toEqual([]);
});

async function post(url: string, payload?: unknown): Promise<{ status: number; body: unknown }> {
  const isJson = payload !== undefined;
  const answer = await api.inject({
    method: "POST",
    url,
    ...(isJson && { payload: JSON.stringify(payload), headers: { "content-type": "application/json" } }),
  });
  return { status: answer.statusCode, body: answer.body === "" ? undefined : answer.json() };
}

const refusal = (message: RegExp) => ({
  status: 400,
  body: { error: { code: "bad-request", message: expect.stringMatching(message) } },
});

describe("edits", () => {
  test("reach the daemon as they are, and have an outcome each", async () => {
    const edits: Edit[] = [
      { kind: "clear" },
      {
        kind: "add-service",
        service: {
          protocol: "fwmark",
          address: "::",
          port: 0,
          mark: 7,
          scheduler: "nosuch",
          schedulerFlags: ["flag-1"],
        },
      },
      {
        kind: "edit-service",
        service: { ...WEB, scheduler: "rr", fullNat: { sources: ["10.0.0.9"], clients: "all" } },
      },
      { kind: "delete-service", service: WEB },
      { kind: "add-server", service: WEB, server: SERVER },
      { kind: "edit-server", service: WEB, server: { ...SERVER, weight: -1 } },
      { kind: "delete-server", service: WEB, server: { address: "10.0.0.1", port: 80 } },
      { kind: "set-timeouts", tcp: 0, tcpFin: 10, udp: 0 },
    ];
    const { status, body } = await post("/v1/edits", { edits });
    expect(status).toBe(200);
    const failure = { code: "ESRCH", message: "no such service" };
    expect(body).toEqual({ outcomes: [null, ...Array(7).fill(failure)] });
    expect(asked).toEqual([edits]);
  });

  test.each<[string, unknown, RegExp]>([
    ["no body", undefined, /^found nothing, wanted a mapping$/],
    ["a list", [], /^found an empty list, wanted a mapping$/],
    ["no edits", {}, /^edits: found nothing, wanted a list$/],
    ["an empty list", { edits: [] }, /^edits: found an empty list, wanted at least one edit$/],
    ["a key too many", { edits: [{ kind: "clear" }], now: true }, /^found the key "now", wanted only edits$/],
    ["text for an edit", { edits: ["clear"] }, /^edits\[0\]: found "clear", wanted /],
    ["an unknown kind", { edits: [{ kind: "flush" }] }, /wanted an edit, its kind one of add-service, /],
    ["a kind's key too many", { edits: [{ kind: "clear", all: 1 }] }, /^edits\[0\]: found the key "all", wanted only kind$/],
    ["a port as text", { edits: [{ kind: "delete-service", service: { ...WEB, port: "80" } }] }, /^edits\[0\]\.service\.port: found "80", wanted a number$/],
    ["a foreign protocol", { edits: [{ kind: "delete-service", service: { ...WEB, protocol: "icmp" } }] }, /found "icmp", wanted one of tcp, udp, sctp, fwmark$/],
    ["no scheduler", { edits: [{ kind: "add-service", service: WEB }] }, /service\.scheduler: found nothing, wanted text$/],
    ["an unknown flag", { edits: [{ kind: "add-service", service: { ...WEB, scheduler: "sh", schedulerFlags: ["x"] } }] }, /schedulerFlags\[0\]: found "x", wanted one of sh-port/],
    ["half a server", { edits: [{ kind: "add-server", service: WEB, server: { address: "10.0.0.1", port: 80 } }] }, /server\.weight: found nothing, wanted a number$/],
    ["long text", { edits: [{ kind: "delete-service", service: { ...WEB, address: "1".repeat(256) } }] }, /wanted at most 255 characters$/],
    ["a prototype for a key", { edits: [JSON.parse('{"kind":"clear","toString":1}')] }, /the key "toString"/],
  ])("%s is refused", async (_, body, message) => {
    expect(await post("/v1/edits", body)).toEqual(refusal(message));
    expect(asked).toEqual([]);
  }); // biome-ignore format: a table

  test("as many as there may be are taken at once, and not one more", async () => {
    const edit = {
      kind: "edit-server",
      service: { ...WEB, address: "2001:db8:1111:2222:3333:4444:5555:6666" },
      server: SERVER,
    };
    expect(await post("/v1/edits", { edits: Array(EDITS_MAX).fill(edit) })).toMatchObject({ status: 200 });
    expect(await post("/v1/edits", { edits: Array(EDITS_MAX + 1).fill(edit) })).toEqual(
      refusal(/at most 10000$/),
    );
  });

  test("what is not JSON is refused", async () => {
    for (const payload of ["{", "", "null", '{"__proto__": {}}']) {
      const headers = { "content-type": "application/json" };
      const answer = await api.inject({ method: "POST", url: "/v1/edits", payload, headers });
      expect([payload, answer.statusCode, answer.json().error.code]).toEqual([payload, 400, "bad-request"]);
    }
  });
});

test("zero is about everything, or about a service that there is", async () => {
  expect(await post("/v1/zero")).toMatchObject({ status: 204 });
  expect(await post("/v1/zero", { service: WEB })).toMatchObject({ status: 204 });
  expect(await post("/v1/zero", { service: { ...WEB, port: 81 } })).toMatchObject({
    status: 404,
    body: { error: { code: "ESRCH" } },
  });
  expect(await post("/v1/zero", { services: [] })).toEqual(
    refusal(/the key "services", wanted only service$/),
  );
  expect(asked).toEqual([undefined, WEB, { ...WEB, port: 81 }]);
});

test("reload keeps changes by hand unless it is told otherwise", async () => {
  expect(await post("/v1/reload")).toMatchObject({ status: 409, body: { error: { code: "cannot-reload" } } });
  await post("/v1/reload", { discardEdits: true });
  expect(asked).toEqual([{ discardEdits: false }, { discardEdits: true }]);
  expect(await post("/v1/reload", { discardEdits: "yes" })).toEqual(
    refusal(/found "yes", wanted true or false$/),
  );
});

describe("the end", () => {
  test("keeps connections unless it is told not to", async () => {
    expect(await post("/v1/stop")).toEqual({ status: 202, body: undefined });
    expect(await post("/v1/stop", { flush: true })).toEqual({ status: 202, body: undefined });
    expect(asked).toEqual([{ flush: false }, { flush: true }]);
    expect(await post("/v1/stop", { flush: 1 })).toMatchObject({ status: 400 });
  });

  test("is another process's beginning", async () => {
    expect(await post("/v1/handover", { pid: 4711 })).toEqual({
      status: 200,
      body: { pid: 77, descriptor: 5 },
    });
    expect(asked).toEqual([4711]);
    expect(await post("/v1/handover", { pid: 0 })).toMatchObject({ status: 400 });
    expect(await post("/v1/handover")).toMatchObject({ status: 400 });
  });
});

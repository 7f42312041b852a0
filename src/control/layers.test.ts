/** File and hand, one over the other: as ipvsadm answers, and nothing made by hand lost. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { seconds } from "../base/environment.ts";
import type { DestinationConfig, DirectorConfig, ServiceConfig, ServiceKey } from "../nat/configuration.ts";
import { IPVS_DEFAULTS } from "../nat/ipvs-settings.ts";
import { DEFAULT_TIMEOUTS } from "../nat/timeouts.ts";
import type { Edit, EditErrorCode, ServiceAttributes } from "./edit.ts";
import { edit, editAll, MANUAL_FACTS_MAX } from "./layer-edit.ts";
import { conflicts, discard, type Layers, makeLayers, reload } from "./layers.ts";
import { manualChanges } from "./manual-changes.ts";
import { serverText, serviceText, serviceValues } from "./manual-layer.ts";

const VIP = "202.103.106.5";
const NOW = new Date("2026-11-23T22:00:00Z");
const LATER = new Date("2026-11-23T23:00:00Z");
const SCHEDULERS = ["rr", "wrr", "wlc", "sh", "none"];
const WEB: ServiceKey = { protocol: "tcp", address: VIP, port: 80 };
const MARK: ServiceKey = { protocol: "fwmark", address: "0.0.0.0", port: 0, mark: 7 };
const SETTINGS: DirectorConfig["settings"] = {
  timeouts: DEFAULT_TIMEOUTS,
  connectionsMax: 100,
  fragmentBytesMax: 65_536,
  unserved: "reject",
  repliesPerSecondMax: 100,
  answerEcho: true,
  removal: "drain",
  fragmentTimeout: seconds(30),
  ipvs: IPVS_DEFAULTS,
};

const config = (...services: readonly ServiceConfig[]): DirectorConfig => ({
  services,
  marks: [],
  masquerade: [],
  settings: SETTINGS,
});

const server = (address: string, port: number, weight = 1, upper = 0, lower = 0): DestinationConfig => ({
  address,
  port,
  weight,
  upperThreshold: upper,
  lowerThreshold: lower,
});
const A = server("172.16.0.2", 80);
const B = server("172.16.0.3", 8000);
const C = server("172.16.0.4", 80);
const WEB_SERVICE: ServiceConfig = { ...WEB, scheduler: "wrr", destinations: [A, B] };
const DNS_SERVICE: ServiceConfig = {
  ...{ protocol: "udp", address: VIP, port: 53 },
  scheduler: "rr",
  destinations: [server("172.16.0.2", 53)],
};
const start = (web = WEB_SERVICE): Layers => makeLayers(config(web, DNS_SERVICE), SCHEDULERS);

const addServer = (one: DestinationConfig, service = WEB): Edit => ({
  kind: "add-server",
  service,
  server: one,
});
const editServer = (one: DestinationConfig, service = WEB): Edit => ({
  kind: "edit-server",
  service,
  server: one,
});
const deleteServer = (one: DestinationConfig, service = WEB): Edit => ({
  kind: "delete-server",
  service,
  server: one,
});
const addService = (service: ServiceAttributes): Edit => ({ kind: "add-service", service });
const editService = (service: ServiceAttributes): Edit => ({ kind: "edit-service", service });
const deleteService = (service: ServiceKey): Edit => ({ kind: "delete-service", service });
const setTimeouts = (tcp: number, tcpFin: number, udp: number): Edit => ({
  kind: "set-timeouts",
  tcp,
  tcpFin,
  udp,
});

test("a service of FTP's port that is added has its module, as IPVS's once ip_vs_ftp is loaded; it stays when edited", () => {
  const ftp = { protocol: "tcp", address: "192.0.2.9", port: 21, scheduler: "rr" } as const;
  const added = edited(start(), addService(ftp));
  expect(service(added, ftp)?.app).toBe("ftp");
  expect(service(edited(added, editService({ ...ftp, scheduler: "wlc" })), ftp)).toMatchObject({
    scheduler: "wlc",
    app: "ftp",
  });
  for (const other of [
    { ...ftp, port: 22 },
    { ...ftp, protocol: "udp" as const },
    { ...ftp, proxyProtocol: "v2" as const },
  ])
    expect(service(edited(start(), addService(other)), other)?.app).toBeUndefined();
  expect(codeOf(start(), addService({ ...ftp, protocol: "udp", app: "ftp" }))).toBe("EINVAL");
  expect(codeOf(start(), addService({ ...ftp, proxyProtocol: "v2", app: "ftp" }))).toBe("EINVAL");
});

/** Every edit has to succeed. */
function edited(layers: Layers, ...edits: readonly Edit[]): Layers {
  return edits.reduce((before, wanted) => {
    const outcome = edit(before, wanted, NOW);
    if ("code" in outcome) throw new Error(`${wanted.kind}: ${outcome.message}`);
    return outcome;
  }, layers);
}

function codeOf(layers: Layers, wanted: Edit): EditErrorCode | "done" {
  const outcome = edit(layers, wanted, NOW);
  return "code" in outcome ? outcome.code : "done";
}

const service = (layers: Layers, key: ServiceKey = WEB): ServiceConfig | undefined =>
  layers.effective.services.find((one) => serviceText(one) === serviceText(key));
const servers = (layers: Layers, key: ServiceKey = WEB): string[] | undefined =>
  service(layers, key)?.destinations.map((one) => `${serverText(one)} ${one.weight}`);
const changes = (layers: Layers): string[] =>
  manualChanges(layers).map(
    ({ subject, what, dormantBecause }) =>
      `${subject}: ${what}${dormantBecause ? ` (${dormantBecause})` : ""}`,
  );

describe("an edit", () => {
  test("takes effect, and is remembered with what the file says and since when", () => {
    const layers = edited(
      start(),
      editServer({ ...A, weight: 5 }),
      addServer(C),
      deleteServer(B),
      editService({
        ...WEB,
        scheduler: "sh",
        schedulerFlags: ["sh-port"],
        persistence: { timeout: seconds(300) },
      }),
      addService({ ...MARK, scheduler: "wlc" }),
      deleteService({ protocol: "udp", address: VIP, port: 53 }),
      setTimeouts(100, 0, 30),
    );
    expect(servers(layers)).toEqual(["172.16.0.2:80 5", "172.16.0.4:80 1"]);
    expect(layers.effective.services.map(serviceText)).toEqual([`tcp ${VIP}:80`, "fwmark 7"]);
    expect(layers.effective.settings.timeouts).toMatchObject({
      tcp: { established: 100, finWait: 60 },
      secureTcp: { established: 100 },
      udp: 30,
    });
    expect(changes(layers)).toEqual([
      "timeouts: tcp 900 s -> 100 s, udp 300 s -> 30 s",
      `service tcp ${VIP}:80: scheduler wrr -> sh, scheduler flags none -> sh-port, persistence none -> 300 s`,
      `server 172.16.0.2:80 of tcp ${VIP}:80: weight 1 -> 5`,
      `server 172.16.0.4:80 of tcp ${VIP}:80: added`,
      `server 172.16.0.3:8000 of tcp ${VIP}:80: removed`,
      "service fwmark 7: added",
      `service udp ${VIP}:53: removed`,
    ]);
    expect(manualChanges(layers)[0]!.since).toBe("2026-11-23T22:00:00.000Z");
  });

  test.each<[string, EditErrorCode, Edit]>([
    ["a service that exists", "EEXIST", addService({ ...WEB, scheduler: "rr" })],
    ["a service at another spelling of the address", "EEXIST", addService({ ...MARK, mark: 1, scheduler: "rr" })],
    ["an unknown scheduler", "ENOENT", addService({ ...WEB, port: 81, scheduler: "nosuch" })],
    ["an unknown engine", "ENOENT", addService({ ...WEB, port: 81, scheduler: "rr", persistence: { timeout: seconds(1), engine: "http" as never } })],
    ["the engine sip over TCP", "EINVAL", addService({ ...WEB, port: 81, scheduler: "rr", persistence: { timeout: seconds(1), engine: "sip" } })],
    ["a timeout of nothing", "EINVAL", addService({ ...WEB, port: 81, scheduler: "rr", persistence: { timeout: seconds(0) } })],
    ["a netmask that is none", "EINVAL", addService({ ...WEB, port: 81, scheduler: "rr", persistence: { timeout: seconds(1), netmask: "64" } })],
    ["one packet over TCP", "EINVAL", addService({ ...WEB, port: 81, scheduler: "rr", isOnePacket: true })],
    ["a multicast address", "EINVAL", addService({ ...WEB, address: "224.0.0.1", scheduler: "rr" })],
    ["a real server as virtual address", "EINVAL", addService({ ...WEB, address: A.address, scheduler: "rr" })],
    ["a mark of nothing", "EINVAL", addService({ ...MARK, mark: 0, scheduler: "rr" })],
    ["a range over a service", "EEXIST", addService({ ...WEB, port: 79, lastPort: 90, scheduler: "rr" })],
    ["a range that ends before it begins", "EINVAL", addService({ ...WEB, port: 90, lastPort: 89, scheduler: "rr" })],
    ["FullNAT from another family", "EINVAL", addService({ ...WEB, port: 81, scheduler: "rr", fullNat: { sources: ["fd00::1"], clients: "all" } })],
    ["editing a missing service", "ESRCH", editService({ ...WEB, port: 81, scheduler: "rr" })],
    ["deleting a missing service", "ESRCH", deleteService({ ...WEB, port: 81 })],
    ["a server of a missing service", "ESRCH", addServer(A, { ...WEB, port: 81 })],
    ["a server that is there", "EEXIST", addServer(A)],
    ["a server of the other family", "EINVAL", addServer(server("fd00::1", 80))],
    ["a virtual address as server", "EINVAL", addServer(server(VIP, 8080))],
    ["thresholds the wrong way round", "ERANGE", addServer(server("172.16.0.5", 83, 1, 5, 9))],
    ["a negative weight", "ERANGE", addServer(server("172.16.0.5", 83, -1))],
    ["editing a missing server", "ENOENT", editServer(C)],
    ["deleting a missing server", "ENOENT", deleteServer(C)],
    ["a timeout beyond 31 days", "EINVAL", setTimeouts(2_678_401, 0, 0)],
  ])("%s is refused: %s", (_, code, wanted) => {
    const layers = edited(start(), addService({ ...MARK, mark: 1, scheduler: "rr" }));
    expect(codeOf(layers, wanted)).toBe(code);
  }); // biome-ignore format: a table

  test("reads addresses in any spelling", () => {
    const six: ServiceKey = { protocol: "tcp", address: "2001:DB8:0::5", port: 80 };
    const layers = edited(
      start(),
      addService({ ...six, scheduler: "rr" }),
      addServer(server("FD00:0:0::2", 80), six),
    );
    expect(service(layers, { ...six, address: "2001:db8::5" })?.destinations[0]?.address).toBe("fd00::2");
  });

  test("that brings a value back leaves no trace", () => {
    const there = edited(
      start(),
      editServer({ ...A, weight: 5 }),
      setTimeouts(100, 10, 0),
      addServer(C),
      deleteServer(B),
    );
    const service = editService({ ...WEB, scheduler: "rr", persistence: { timeout: seconds(60) } });
    const back = edited(
      edited(there, service),
      editServer(A),
      setTimeouts(900, 60, 300),
      deleteServer(C),
      addServer(B),
      editService({ ...WEB, scheduler: "wrr", schedulerFlags: [], isOnePacket: false }),
    );
    expect(changes(back)).toEqual([]);
    expect(back.effective).toEqual(back.file);
  });

  test("of a service leaves what ipvsadm cannot say, and resets what it can", () => {
    const layers = edited(
      start({ ...WEB_SERVICE, removal: "reset" }),
      editService({ ...WEB, scheduler: "rr" }),
    );
    expect(service(layers)).toMatchObject({ scheduler: "rr", removal: "reset" });
    const marked = edited(layers, editService({ ...WEB, scheduler: "rr", removal: "drop" }));
    expect(service(marked)).toMatchObject({ removal: "drop" });
  });

  test("deleting and restoring everything leaves no trace; in another order the order stays", () => {
    const cleared = edited(start(), { kind: "clear" });
    expect(cleared.effective.services).toEqual([]);
    const restored = edited(cleared, addService({ ...WEB, scheduler: "wrr" }), addServer(A), addServer(B));
    expect(changes(restored)).toEqual([`service udp ${VIP}:53: removed`]);
    const turned = edited(cleared, addService({ ...WEB, scheduler: "wrr" }), addServer(B), addServer(A));
    expect(servers(turned)).toEqual(["172.16.0.3:8000 1", "172.16.0.2:80 1"]);
  });

  test("a server deleted and added again is the newest", () => {
    expect(servers(edited(start(), deleteServer(A), addServer(A)))).toEqual([
      "172.16.0.3:8000 1",
      "172.16.0.2:80 1",
    ]);
  });

  test("a service added by hand begins without the servers that the file has", () => {
    const layers = edited(start(), deleteService(WEB), addService({ ...WEB, scheduler: "wrr" }));
    expect(servers(layers)).toEqual([]);
  });
});

describe("a new file", () => {
  const heavier = config({ ...WEB_SERVICE, destinations: [{ ...A, weight: 3 }, B] }, DNS_SERVICE);
  const withoutWeb = config(DNS_SERVICE);

  test("changes what the hand left alone", () => {
    const layers = edited(start(), editServer({ ...B, weight: 9 }));
    const { layers: now, overriding } = reload(layers, heavier);
    expect(servers(now)).toEqual(["172.16.0.2:80 3", "172.16.0.3:8000 9"]);
    expect(overriding).toEqual([]);
  });

  test("loses against the hand where both changed the same, and says so", () => {
    const { layers, overriding } = reload(edited(start(), editServer({ ...A, weight: 5 })), heavier);
    expect(servers(layers)?.[0]).toBe("172.16.0.2:80 5");
    expect(overriding).toEqual([
      { subject: `server 172.16.0.2:80 of tcp ${VIP}:80`, what: "weight 3 -> 5", since: NOW.toISOString() },
    ]);
  });

  test("without the service: what is about it sleeps, and wakes when it comes back", () => {
    const layers = edited(start(), editServer({ ...A, weight: 5 }), addServer(C));
    const asleep = reload(layers, withoutWeb).layers;
    expect(service(asleep)).toBeUndefined();
    expect(changes(asleep)).toEqual([
      `server 172.16.0.2:80 of tcp ${VIP}:80: weight 5 (the file does not have this service)`,
      `server 172.16.0.4:80 of tcp ${VIP}:80: added (the file does not have this service)`,
    ]);
    expect(reload(asleep, layers.file).layers).toEqual(layers);
  });

  test("that says the same: the change sleeps", () => {
    const { layers, overriding } = reload(edited(start(), editServer({ ...A, weight: 3 })), heavier);
    expect(changes(layers)).toEqual([
      `server 172.16.0.2:80 of tcp ${VIP}:80: changed (the file says the same)`,
    ]);
    expect(overriding).toEqual([]);
  });

  test("that excludes what was made by hand is told apart", () => {
    const added = edited(start(), addService({ ...WEB, port: 8080, scheduler: "sh" }), addServer(C));
    expect(conflicts(added)).toEqual([]);
    const other: ServiceConfig = { ...WEB, address: C.address, port: 9, scheduler: "rr", destinations: [] };
    const { layers } = reload(added, config(WEB_SERVICE, DNS_SERVICE, other), ["rr", "wrr", "wlc"]);
    expect(conflicts(layers)).toEqual([
      expect.stringMatching(/tcp 202\.103\.106\.5:8080 .* no scheduler "sh"/),
      expect.stringMatching(/server 172\.16\.0\.4:80 .* is a virtual address/),
    ]);
  });

  test("discard forgets one thing, or everything", () => {
    const layers = edited(start(), editServer({ ...A, weight: 5 }), addServer(C), setTimeouts(1, 0, 0));
    const rest = discard(layers, `server 172.16.0.2:80 of tcp ${VIP}:80`);
    expect(servers(rest)).toEqual(["172.16.0.2:80 1", "172.16.0.3:8000 1", "172.16.0.4:80 1"]);
    expect(changes(discard(rest, "timeouts"))).toEqual([`server 172.16.0.4:80 of tcp ${VIP}:80: added`]);
    expect(discard(rest).effective).toEqual(rest.file);
  });
});

test("there is a bound on what is remembered", () => {
  const many = Array.from({ length: 20 }, (_, at) =>
    addService({ ...WEB, port: 1000 + at, scheduler: "rr" }),
  );
  let layers = edited(start(), ...many);
  const full = Array.from({ length: MANUAL_FACTS_MAX }, (_, at) => ({
    address: `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`,
    port: 80,
    kind: "removed" as const,
    since: NOW.toISOString(),
  }));
  layers = makeLayers(layers.file, SCHEDULERS, {
    services: [...layers.manual.services, { key: MARK, servers: full }],
  });
  expect(codeOf(layers, addServer(C))).toBe("EINVAL");
  expect(codeOf(layers, deleteService({ ...WEB, port: 1000 }))).toBe("done");
});

describe("under random histories", () => {
  const keys: readonly ServiceKey[] = [
    WEB,
    { ...WEB, port: 81 },
    { ...WEB, protocol: "udp", port: 53 },
    MARK,
  ];
  const anyKey = fc.constantFrom(...keys);
  const anyServer = fc.record({
    address: fc.constantFrom("172.16.0.2", "172.16.0.3", "172.16.0.4"),
    port: fc.constantFrom(80, 53),
    weight: fc.constantFrom(0, 1, 5),
    upperThreshold: fc.constantFrom(0, 10),
    lowerThreshold: fc.constantFrom(0, 5),
  });
  const anyAttributes = fc
    .record({
      key: anyKey,
      scheduler: fc.constantFrom("rr", "wlc", "none", "nosuch"),
      timeout: fc.constantFrom(0, 60),
    })
    .map(({ key, scheduler, timeout }): ServiceAttributes => {
      return { ...key, scheduler, ...(timeout > 0 && { persistence: { timeout: seconds(timeout) } }) };
    });
  const anyEdit = fc.oneof(
    anyAttributes.map(addService),
    anyAttributes.map(editService),
    anyKey.map(deleteService),
    fc.record({ one: anyServer, key: anyKey }).map(({ one, key }) => addServer(one, key)),
    fc.record({ one: anyServer, key: anyKey }).map(({ one, key }) => addServer(one, key)),
    fc.record({ one: anyServer, key: anyKey }).map(({ one, key }) => editServer(one, key)),
    fc.record({ one: anyServer, key: anyKey }).map(({ one, key }) => deleteServer(one, key)),
    fc.constant<Edit>({ kind: "clear" }),
  );
  const anyFile = fc
    .uniqueArray(
      fc.record({
        service: anyAttributes,
        list: fc.uniqueArray(anyServer, { selector: serverText, maxLength: 4 }),
      }),
      {
        selector: ({ service }) => serviceText(service),
      },
    )
    .map(
      (services): DirectorConfig => ({
        ...config(),
        services: services.map(({ service, list }) => ({
          ...service,
          scheduler: service.scheduler === "nosuch" ? "sh" : service.scheduler,
          destinations: list.filter((one) => one.lowerThreshold <= one.upperThreshold),
        })),
      }),
    );

  /** ipvsadm's world: a list of services with lists of servers. */
  class Model {
    readonly services = new Map<string, { attributes: ServiceAttributes; servers: DestinationConfig[] }>();

    constructor(file: DirectorConfig) {
      for (const { destinations, ...attributes } of file.services)
        this.services.set(serviceText(attributes), { attributes, servers: [...destinations] });
    }

    do(wanted: Edit): EditErrorCode | "done" {
      if (wanted.kind === "clear") this.services.clear();
      if (wanted.kind === "clear" || wanted.kind === "set-timeouts") return "done";
      const name = serviceText(wanted.service);
      const found = this.services.get(name);
      if (wanted.kind === "add-service") {
        if (found) return "EEXIST";
        if (wanted.service.scheduler === "nosuch") return "ENOENT";
        this.services.set(name, { attributes: wanted.service, servers: [] });
        return "done";
      }
      if (!found) return "ESRCH";
      switch (wanted.kind) {
        case "edit-service":
          if (wanted.service.scheduler === "nosuch") return "ENOENT";
          found.attributes = wanted.service;
          return "done";
        case "delete-service":
          this.services.delete(name);
          return "done";
      }
      const at = found.servers.findIndex((one) => serverText(one) === serverText(wanted.server));
      if (wanted.kind !== "delete-server" && wanted.server.lowerThreshold > wanted.server.upperThreshold)
        return "ERANGE";
      if (wanted.kind === "add-server") {
        if (at >= 0) return "EEXIST";
        found.servers.push(wanted.server);
      } else if (at < 0) return "ENOENT";
      else if (wanted.kind === "edit-server") found.servers[at] = wanted.server;
      else found.servers.splice(at, 1);
      return "done";
    }
  }

  const plain = (
    services: Iterable<{ attributes: ServiceAttributes; servers: readonly DestinationConfig[] }>,
  ) =>
    [...services]
      .map(
        ({ attributes, servers: list }) =>
          [serviceText(attributes), serviceValues(attributes), list] as const,
      )
      .sort(([a], [b]) => (a < b ? -1 : 1));
  const plainLayers = ({ effective }: Layers) =>
    plain(
      effective.services.map(({ destinations, ...attributes }) => ({ attributes, servers: destinations })),
    );

  test("edits answer and act as ipvsadm's do", () => {
    fc.assert(
      fc.property(anyFile, fc.array(anyEdit, { maxLength: 40 }), (file, edits) => {
        const model = new Model(file);
        let layers = makeLayers(file, SCHEDULERS);
        for (const wanted of edits) {
          const outcome = edit(layers, wanted, NOW);
          expect("code" in outcome ? outcome.code : "done").toBe(model.do(wanted));
          if (!("code" in outcome)) layers = outcome;
        }
        expect(plainLayers(layers)).toEqual(plain(model.services.values()));
        expect(makeLayers(file, SCHEDULERS, layers.manual).effective).toEqual(layers.effective);
        expect(makeLayers(file, SCHEDULERS, JSON.parse(JSON.stringify(layers.manual))).effective).toEqual(
          layers.effective,
        );
        expect(conflicts(layers)).toEqual([]);
      }),
      { numRuns: 5000 },
    );
  });

  test("no new file loses a change, and the old one brings all of them back", () => {
    fc.assert(
      fc.property(anyFile, anyFile, fc.array(anyEdit, { maxLength: 20 }), (file, other, edits) => {
        let layers = makeLayers(file, SCHEDULERS);
        for (const wanted of edits) {
          const outcome = edit(layers, wanted, LATER);
          if (!("code" in outcome)) layers = outcome;
        }
        const subjects = (one: Layers) => manualChanges(one).map(({ subject }) => subject);
        const { layers: reloaded, overriding } = reload(layers, other);
        expect(subjects(reloaded)).toEqual(subjects(layers));
        for (const { subject } of overriding) expect(subjects(layers)).toContain(subject);
        expect(reload(reloaded, file).layers).toEqual(layers);
        // What is said to sleep has no effect on values, and what is not said to sleep has one.
        for (const { subject, dormantBecause } of manualChanges(reloaded)) {
          if (!subject.startsWith("server ") || dormantBecause === undefined) continue;
          const values = (one: Layers) =>
            plainLayers(one).map(([name, , list]) => [name, [...list].sort(byText)]);
          expect(values(discard(reloaded, subject))).toEqual(values(reloaded));
        }
      }),
      { numRuns: 3000 },
    );
  });

  const byText = (a: DestinationConfig, b: DestinationConfig): number =>
    serverText(a) < serverText(b) ? -1 : 1;
});

test("a list of edits is made as far as it can be, and what is refused from outside is left out", async () => {
  const many = Array.from({ length: 200 }, (_, at) =>
    addService({ ...WEB, port: 1000 + at, scheduler: "rr" }),
  );
  const edits = [addServer(A), ...many, deleteService({ ...WEB, port: 7 }), deleteServer(A)];
  const { layers, outcomes } = await editAll(start(), edits, NOW, ({ effective }) =>
    effective.services.some(({ port }) => port === 1100) ? "not that one" : undefined,
  );
  expect(outcomes.filter((one) => one !== undefined).map(({ code }) => code)).toEqual([
    "EEXIST",
    "EINVAL",
    "ESRCH",
  ]);
  expect(outcomes[101]).toEqual({ code: "EINVAL", message: "not that one" });
  expect(layers.effective.services).toHaveLength(2 + 199);
  expect(servers(layers)).toEqual(["172.16.0.3:8000 1"]);
});

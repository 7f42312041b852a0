/** What Prometheus is told of a director. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { figureOf, parseExposition } from "../../test/support/exposition.ts";
import { STATUS, TROUBLED_FAST_PATH } from "../../test/support/status.ts";
import type { ServiceStatus } from "../control/director-status.ts";
import { OBSTACLES } from "../datapath/ebpf/probe.ts";
import { DROP_REASONS } from "../nat/drop-reason.ts";
import { formatExposition } from "./exposition.ts";
import { metricsOf } from "./metrics.ts";
import type { Status } from "./operations.ts";

/** As a scraper reads it. */
const scrape = (status: Status | undefined) => parseExposition(formatExposition(metricsOf(status)));
const of = (fastPath: Status["fastPath"]) => scrape({ ...STATUS, fastPath });

test("without a director it is down, and nothing else is known", () => {
  expect(formatExposition(metricsOf(undefined))).toMatch(
    /^# HELP vsnat_up .*\n# TYPE vsnat_up gauge\nvsnat_up 0\n$/,
  );
});

test("names follow Prometheus's customs", () => {
  for (const { name, type, help, samples } of of(TROUBLED_FAST_PATH)) {
    expect(name).toMatch(/^vsnat_[a-z_]+$/);
    expect(name.endsWith("_total"), name).toBe(type === "counter");
    expect(name).not.toMatch(/_(count|sum|bucket)$|gauge|counter|_(ms|kb|mb|seconds_seconds)\b/);
    expect(help, name).toMatch(/^[^\n]+\.$/);
    for (const { labels, value } of samples) {
      expect(Object.keys(labels).filter((label) => !/^[a-z_]+$/.test(label))).toEqual([]);
      if (type === "counter") expect(value, name).toBeGreaterThanOrEqual(0);
    }
  }
});

test("figures of the process, the table, packets and defences", () => {
  const families = scrape(STATUS);
  const value = (name: string, labels = {}) => figureOf(families, `vsnat_${name}`, labels);
  expect(value("up")).toBe(1);
  expect(value("build_info", { version: "1" })).toBe(1);
  expect(value("start_time_seconds")).toBe(Date.UTC(2026, 10, 23, 22) / 1000 + 0.123);
  expect(value("connection_table_entries")).toBe(1);
  expect(value("connection_table_capacity")).toBe(10);
  expect(value("changes_by_hand")).toBe(3);
  expect(value("device_up", { device: "vs0" })).toBe(1);
  expect(value("packets_total", { verdict: "pass" })).toBe(3);
  expect(value("dropped_packets_total", { reason: "defence" })).toBe(5);
  expect(value("dropped_packets_total", { reason: "martian" })).toBe(0);
  const drops = families.find(({ name }) => name === "vsnat_dropped_packets_total");
  expect(drops?.samples).toHaveLength(DROP_REASONS.length);
  expect(value("defence_active", { defence: "drop_packet" })).toBe(1);
  expect(value("defence_active", { defence: "secure_tcp" })).toBe(0);
  expect(value("masquerade_entries", { rule: "1", from: "10.0.0.0/24", to: "" })).toBe(4);
  expect(value("masquerade_connections_total", { rule: "1" })).toBe(9);
  expect(value("application_connections", { application: "ftp" })).toBe(3);
  expect(value("application_events_total", { application: "ftp", event: "lowPort" })).toBe(1);
});

test("services and servers have the labels of node_exporter's IPVS collector", () => {
  const families = scrape(STATUS);
  const labelsOf = (name: string) =>
    families.find((one) => one.name === name)?.samples.map((one) => one.labels);
  const web = { local_address: "192.0.2.1", local_port: "80", proto: "TCP", local_mark: "" };
  const mark = { local_address: "", local_port: "0", proto: "FWM6", local_mark: "00000007" };
  expect(labelsOf("vsnat_service_connections_total")).toEqual([web, mark]);
  expect(labelsOf("vsnat_backend_connections_active")).toEqual([
    { ...web, remote_address: "10.0.0.1", remote_port: "80" },
    { ...web, remote_address: "10.0.0.2", remote_port: "80" },
    { ...mark, remote_address: "fd00::1", remote_port: "0" },
  ]);
  const available = (address: string) =>
    figureOf(families, "vsnat_backend_available", { remote_address: address });
  expect(available("10.0.0.1")).toBe(0); // no weight
  expect(available("10.0.0.2")).toBe(0); // overloaded
  expect(available("fd00::1")).toBe(1);
  expect(figureOf(families, "vsnat_service_scheduler_failed", web)).toBe(0);
  expect(figureOf(families, "vsnat_service_scheduler_failed", mark)).toBe(1);
});

test.each<[string, Status["fastPath"]]>([
  ["on", { ...TROUBLED_FAST_PATH, suspendedBy: [] }],
  ["suspended", TROUBLED_FAST_PATH],
  [
    "no-interface",
    { ...TROUBLED_FAST_PATH, suspendedBy: [], interfaces: [{ name: "a", refusal: "ERANGE" }] },
  ],
  ["off", { state: "off" }],
  ...OBSTACLES.map(
    (obstacle) => [obstacle, { state: "unavailable", obstacle, reason: "x" }] as [string, Status["fastPath"]],
  ),
])("a fast path is %s and nothing else", (state, fastPath) => {
  const families = of(fastPath);
  const states = families.find(({ name }) => name === "vsnat_fast_path_state")!.samples;
  expect(states.filter(({ value }) => value === 1)).toEqual([{ labels: { state }, value: 1 }]);
  expect(figureOf(families, "vsnat_fast_path_up")).toBe(state === "on" ? 1 : 0);
});

test("a fast path in trouble", () => {
  const families = of(TROUBLED_FAST_PATH);
  const value = (name: string, labels = {}) => figureOf(families, `vsnat_fast_path_${name}`, labels);
  expect(value("connections")).toBe(6);
  expect(value("refused_total")).toBe(7);
  expect(value("without_way_total")).toBe(8);
  expect(value("lost_news_total")).toBe(9);
  expect(value("audited_packets_total")).toBe(12);
  expect(value("mismatches_total")).toBe(1);
  expect(value("interfaces_lost_total")).toBe(1);
  expect(value("attached", { device: "outside" })).toBe(1);
  expect(value("attached", { device: "vlan7" })).toBe(0);
  expect(value("suspended", { by: "trace" })).toBe(1);
  expect(value("class_off", { class: "IPv4 TCP to the server" })).toBe(1);
});

const count = fc.nat();
const counters = fc.record({
  ...{ connections: count, inPackets: count, outPackets: count, inBytes: count, outBytes: count },
});
const address = fc.ipV4();
const port = fc.nat(65_535);
/** Whatever a configuration may have, with no two of one key. */
const service: fc.Arbitrary<ServiceStatus> = fc.record({
  protocol: fc.constantFrom("tcp", "udp", "sctp"),
  ...{ address, port, scheduler: fc.constant("wlc"), counters, rates: counters },
  destinations: fc.uniqueArray(
    fc.record({
      ...{
        address,
        port,
        weight: count,
        upperThreshold: count,
        lowerThreshold: count,
        isOverloaded: fc.boolean(),
      },
      ...{ activeConnections: count, inactiveConnections: count, persistentConnections: count },
      ...{ counters, rates: counters },
    }),
    { selector: (one) => `${one.address} ${one.port}`, maxLength: 4 },
  ),
});
const services = fc.uniqueArray(service, { selector: (one) => `${one.protocol} ${one.address} ${one.port}` });

test("any services and any names read back, each figure once", () => {
  const anything = fc.record({ services, name: fc.string({ unit: "grapheme" }), version: fc.string() });
  fc.assert(
    fc.property(anything, ({ services, name, version }) => {
      const { daemon, device, applications } = STATUS;
      const families = scrape({
        ...STATUS,
        ...{ services, daemon: { ...daemon, version }, device: { ...device, name } },
        applications: applications.map((one) => ({ ...one, name })),
      });
      expect(figureOf(families, "vsnat_build_info", { version })).toBe(1);
      expect(figureOf(families, "vsnat_device_up", { device: name })).toBe(1);
      const found = families.find((one) => one.name === "vsnat_backend_weight")?.samples ?? [];
      expect(found.map(({ value }) => value)).toEqual(
        services.flatMap(({ destinations }) => destinations.map(({ weight }) => weight)),
      );
    }),
  );
});

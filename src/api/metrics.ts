/**
 * The status of a running director as metrics for Prometheus. Names and labels of services and servers are those of
 * node_exporter's collector for IPVS, with vsnat_ for node_ipvs_.
 *
 * A new figure is a line in one of the tables. docs/management.md explains each; a test sees to that.
 */
import type { FastPathStatus } from "../control/datapath-protocol.ts";
import type { DestinationStatus, ServiceStatus, TrafficCounters } from "../control/director-status.ts";
import type { FastPathInterface } from "../control/fast-path-interfaces.ts";
import { OBSTACLES } from "../datapath/ebpf/probe.ts";
import type { ServiceKey } from "../nat/configuration.ts";
import { DROP_REASONS } from "../nat/drop-reason.ts";
import type { Family, Labels, Sample } from "./exposition.ts";
import type { Status } from "./operations.ts";

type ActiveFastPath = Extract<FastPathStatus, { readonly state: "on" }>;

interface Figure<T> extends Omit<Family, "samples"> {
  readonly value: (of: T) => number;
}

/** @param stem - without vsnat_ and _total */
const counter = <T>(stem: string, help: string, value: (of: T) => number): Figure<T> => {
  return { name: `vsnat_${stem}_total`, type: "counter", help, value };
};
const gauge = <T>(stem: string, help: string, value: (of: T) => number | boolean): Figure<T> => {
  return { name: `vsnat_${stem}`, type: "gauge", help, value: (of) => Number(value(of)) };
};

const UP = gauge<Status | undefined>(
  "up",
  "Whether the director answers; 0: nothing else is known.",
  (status) => status !== undefined,
);

const PROCESS: readonly Figure<Status>[] = [
  gauge("start_time_seconds", "When the process started, in seconds since 1970.", ({ daemon }) => {
    return Date.parse(daemon.startedAt) / 1000;
  }),
  gauge("changes_by_hand", "Changes made by vsadm or the API over the file.", ({ manual }) => manual.length),
  counter("internal_errors", "Mistakes of vsnat's own; please report them.", (one) => one.internalErrorCount),
  gauge(
    "connection_table_entries",
    "Connections and templates in the table.",
    (one) => one.connections.count,
  ),
  gauge("connection_table_capacity", "Entries that the table has room for.", (one) => one.connections.max),
];

const DEVICE: readonly Figure<Status["device"]>[] = [
  gauge("device_up", "Whether the TUN device is there and up.", ({ state }) => state === "up"),
  counter("device_received_packets", "Packets read from the TUN device.", (one) => one.receivedPackets),
  counter("device_sent_packets", "Packets written to the TUN device.", (one) => one.sentPackets),
  counter("device_lost_packets", "Packets not sent: no room, or device down.", (one) => one.lostPackets),
  counter("device_refused_packets", "Packets that the kernel would not take.", (one) => one.refusedPackets),
  counter("device_unreadable_packets", "Packets never asked for.", (one) => one.unreadablePackets),
];

/** @param stem - in front of the names that node_exporter has: "service_", or nothing for everything */
const traffic = (stem: string): Figure<{ readonly counters: TrafficCounters }>[] => [
  counter(`${stem}connections`, "Connections made.", ({ counters }) => counters.connections),
  counter(`${stem}incoming_packets`, "Packets from clients.", ({ counters }) => counters.inPackets),
  counter(`${stem}outgoing_packets`, "Packets from servers.", ({ counters }) => counters.outPackets),
  counter(`${stem}incoming_bytes`, "Bytes of packets from clients.", ({ counters }) => counters.inBytes),
  counter(`${stem}outgoing_bytes`, "Bytes of packets from servers.", ({ counters }) => counters.outBytes),
];

const SERVICE: readonly Figure<ServiceStatus>[] = [
  gauge("service_scheduler_failed", "Whether wlc stands in for the service's own scheduler.", (one) => {
    return one.schedulerFailure !== undefined;
  }),
  ...traffic("service_"),
];

const BACKEND: readonly Figure<DestinationStatus>[] = [
  gauge(
    "backend_available",
    "Whether the server may get new connections: a weight, and no limit reached.",
    (one) => {
      return one.weight > 0 && !one.isOverloaded;
    },
  ),
  gauge("backend_weight", "Weight of the server; 0: no new connections.", ({ weight }) => weight),
  gauge(
    "backend_connections_active",
    "Established connections of the server.",
    (one) => one.activeConnections,
  ),
  gauge(
    "backend_connections_inactive",
    "All other connections of the server.",
    (one) => one.inactiveConnections,
  ),
  gauge("backend_connections_persistent", "Templates that pin clients to the server.", (one) => {
    return one.persistentConnections;
  }),
  ...traffic("backend_"),
];

const MASQUERADE: readonly Figure<Status["masquerade"][number]>[] = [
  gauge("masquerade_entries", "Connections in the table, by rule.", ({ connections }) => connections),
  ...traffic("masquerade_"),
];

const FAST_PATH: readonly Figure<ActiveFastPath>[] = [
  gauge("fast_path_connections", "Connections that the kernel knows.", ({ connections }) => connections),
  gauge(
    "fast_path_excepted_connections",
    "Connections that it leaves to the director.",
    (one) => one.excepted,
  ),
  gauge("fast_path_delegated_services", "Services whose servers the kernel chooses.", (one) => one.delegated),
  counter("fast_path_begun_connections", "Connections that began in the kernel.", ({ begun }) => begun),
  counter("fast_path_refused", "How often a connection found no room there.", ({ refused }) => refused),
  counter(
    "fast_path_without_way",
    "How often there was no way that it could take.",
    ({ withoutWay }) => withoutWay,
  ),
  counter(
    "fast_path_lost_news",
    "How often news for the director found no room.",
    ({ lostNews }) => lostNews,
  ),
  counter(
    "fast_path_audited_packets",
    "Packets that the director wrote as well, to compare.",
    ({ audited }) => audited,
  ),
  counter("fast_path_mismatches", "Audited packets that were wrong.", ({ mismatches }) => mismatches),
  counter(
    "fast_path_interfaces_lost",
    "How often an interface went away, went down or was replaced.",
    (one) => {
      return one.lostInterfaces;
    },
  ),
];

const ATTACHED: readonly Figure<FastPathInterface>[] = [
  gauge("fast_path_attached", "Whether the fast path is at this interface.", ({ refusal }) => !refusal),
];

/** @param status - undefined: no director answers */
export function metricsOf(status: Status | undefined): Family[] {
  const up = table([UP], [[{}, status]]);
  if (status === undefined) return up;
  const { device, services, masquerade } = status;
  const backends = services.flatMap((service) =>
    service.destinations.map((one) => [{ ...serviceLabels(service), ...remoteLabels(one) }, one] as const),
  );
  const used = status.applications.filter(isUsed);
  return [
    ...up,
    set("build_info", "The version that runs.", [sample({ version: status.daemon.version }, 1)]),
    ...table(PROCESS, [[{}, status]]),
    ...table(DEVICE, [[{ device: device.name }, device]]),
    counts("packets", "Packets by what became of them.", "verdict", status.verdicts),
    counts("dropped_packets", "Packets dropped, by reason.", "reason", { ...NO_DROPS, ...status.drops }),
    set(
      "defence_active",
      "Whether a defence against floods is in action.",
      status.defences.map(({ name, mode }) => sample({ defence: name }, mode >= 2)),
    ),
    ...table(traffic(""), [[{}, status]]),
    ...table(
      SERVICE,
      services.map((one) => [serviceLabels(one), one]),
    ),
    ...table(BACKEND, backends),
    ...table(
      MASQUERADE,
      masquerade.map((one, at) => [
        { rule: String(at + 1), from: one.from.join(","), to: one.to ?? "" },
        one,
      ]),
    ),
    set(
      "application_connections",
      "Connections with an application module.",
      used.map(({ name, ports }) => sample({ application: name }, sum(ports.map((one) => one.connections)))),
    ),
    {
      ...{ name: "vsnat_application_events_total", type: "counter", help: "What application modules did." },
      samples: used.flatMap(({ name, counters }) =>
        Object.entries(counters).map(([event, count]) => sample({ application: name, event }, count)),
      ),
    },
    ...fastPath(status.fastPath),
  ];
}

/** What it may be like: exactly one of these is so. */
const FAST_PATH_STATES = ["on", "off", "suspended", "no-interface", ...OBSTACLES] as const;

function fastPathState(status: FastPathStatus): (typeof FAST_PATH_STATES)[number] {
  if (status.state === "off") return "off";
  if (status.state === "unavailable") return status.obstacle;
  if (status.suspendedBy.length > 0) return "suspended";
  return status.interfaces.some(({ refusal }) => refusal === undefined) ? "on" : "no-interface";
}

function fastPath(status: FastPathStatus): Family[] {
  const state = fastPathState(status);
  const families = [
    set("fast_path_up", "Whether packets of known connections stay in the kernel.", [
      sample({}, state === "on"),
    ]),
    set(
      "fast_path_state",
      "1 for what the fast path is like: on, or why it is not.",
      FAST_PATH_STATES.map((one) => sample({ state: one }, one === state)),
    ),
  ];
  if (status.state !== "on") return families;
  return [
    ...families,
    ...table(FAST_PATH, [[{}, status]]),
    ...table(
      ATTACHED,
      status.interfaces.map((one) => [{ device: one.name }, one]),
    ),
    set(
      "fast_path_suspended",
      "Why every packet comes to the director for now.",
      status.suspendedBy.map((by) => sample({ by }, 1)),
    ),
    set(
      "fast_path_class_off",
      "Kinds of packets switched off because one was wrong.",
      status.classesOff.map((one) => sample({ class: one }, 1)),
    ),
  ];
}

const NO_DROPS = Object.fromEntries(DROP_REASONS.map((reason) => [reason, 0]));

const isUsed = ({ ports, counters }: Status["applications"][number]): boolean =>
  ports.length > 0 || Object.values(counters).some((count) => count > 0);

/** As node_exporter has them; the mark is hexadecimal, as in /proc/net/ip_vs. */
function serviceLabels({
  protocol,
  address,
  port,
  lastPort,
  mark = 0,
}: ServiceKey & { readonly lastPort?: number }): Labels {
  const isMark = protocol === "fwmark";
  return {
    local_address: isMark ? "" : address,
    local_port: lastPort === undefined ? String(port) : `${port}-${lastPort}`,
    proto: isMark ? (address.includes(":") ? "FWM6" : "FWM") : protocol.toUpperCase(),
    local_mark: isMark ? mark.toString(16).toUpperCase().padStart(8, "0") : "",
  };
}

const remoteLabels = ({ address, port }: DestinationStatus): Labels => {
  return { remote_address: address, remote_port: String(port) };
};

/** Every figure of every thing. */
function table<T>(figures: readonly Figure<T>[], things: readonly (readonly [Labels, T])[]): Family[] {
  return figures.map(({ value, ...family }) => {
    return { ...family, samples: things.map(([labels, thing]) => ({ labels, value: value(thing) })) };
  });
}

const set = (stem: string, help: string, samples: readonly Sample[]): Family => {
  return { name: `vsnat_${stem}`, type: "gauge", help, samples };
};

function counts(stem: string, help: string, label: string, values: Readonly<Record<string, number>>): Family {
  const samples = Object.entries(values).map(([key, value]) => sample({ [label]: key }, value));
  return { name: `vsnat_${stem}_total`, type: "counter", help, samples };
}

const sample = (labels: Labels, value: number | boolean): Sample => ({ labels, value: Number(value) });
const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);

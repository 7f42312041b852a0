/**
 * The shape of a configuration file, value by value. Relations between values are in relations.ts.
 *
 * One definition serves three readers: the daemon (parsing), editors (the published JSON Schema) and people (the
 * descriptions). Defaults are here and nowhere else, except time-outs, which depend on the profile.
 */
import * as z from "zod";
import { seconds } from "../../base/environment.ts";
import { REMOVAL_POLICIES, SCHEDULER_FLAGS, SCTP_STATES, TCP_STATES } from "../../nat/configuration.ts";
import { LISTEN_PATTERN, parseEndpoint, parseListen, SERVER_PATTERN } from "./endpoint.ts";
import { hostSchema } from "./host-schema.ts";
import { ipvsSettings } from "./ipvs-schema.ts";
import { choice, duration, list, mapping, size, textLeaf, whole, yesOrNo } from "./value.ts";

export const SERVICES_MAX = 4096;
export const SERVERS_PER_SERVICE_MAX = 4096;
/** Counts and weights are 31-bit, as in IPVS's netlink interface. */
const INT31_MAX = 2_147_483_647;
/** 2^24 entries are 2 GiB at 128 bytes each. */
const CONNECTIONS_MAX = 1 << 24;
const MIB = 1024 * 1024;

const serverAddress = textLeaf(
  { pattern: SERVER_PATTERN, description: "ADDRESS:PORT, IPv6 in brackets; without a port, the service's." },
  parseEndpoint,
);

const server = z.union([
  serverAddress.transform((address) => ({ address, weight: 1, upperThreshold: 0, lowerThreshold: 0 })),
  mapping(
    {
      address: serverAddress,
      weight: whole(
        0,
        INT31_MAX,
        "Share of new connections; 0 quiesces: old ones go on, no new ones.",
      ).default(1),
      upperThreshold: whole(0, INT31_MAX, "No new connections from this many on; 0: no limit.").default(0),
      lowerThreshold: whole(
        0,
        INT31_MAX,
        "After upperThreshold was reached, new connections again below this many; 0: below three quarters of it.",
      ).default(0),
    },
    "A real server with options.",
  ),
]);

const removedServers = choice(
  REMOVAL_POLICIES,
  "Connections of a server that was removed: go on, dropped in silence, both ends told, begun anew elsewhere, or that for UDP only.",
);

const service = (schedulers: readonly string[]) =>
  mapping(
    {
      listen: textLeaf(
        {
          pattern: LISTEN_PATTERN,
          description: "PROTOCOL://VIP:PORT; protocol tcp, udp or sctp; IPv6 in brackets.",
        },
        parseListen,
      ),
      scheduler: choice(schedulers, "How a server is picked for a new connection.").default("wlc"),
      schedulerFlags: list(
        choice(SCHEDULER_FLAGS, "A flag of the scheduler."),
        SCHEDULER_FLAGS.length,
        "Flags of the scheduler, as ipvsadm's -b.",
      ).optional(),
      app: z
        .string({ error: "the name of an application module" })
        .meta({ description: "Application helper. Accepted with a warning: not supported by this version." })
        .optional(),
      servers: list(server, SERVERS_PER_SERVICE_MAX, "Real servers, in the order they are added."),
    },
    "A virtual service.",
  );

/** One optional duration a state; what is left out comes from the profile. */
const perState = <State extends string>(states: readonly State[]) =>
  Object.fromEntries(
    states.map((state) => [state, duration(`Life of an idle entry in state ${state}.`).optional()]),
  ) as Record<State, z.ZodOptional<ReturnType<typeof duration>>>;

const timeouts = mapping(
  {
    profile: choice(["default", "ipvs"], "Table that the other keys refine; ipvs: Linux's own.").default(
      "default",
    ),
    tcp: mapping(perState(TCP_STATES), "TCP, by state.").prefault({}),
    secureTcp: mapping(
      perState(TCP_STATES),
      "TCP while secure_tcp is active; what is left out: as tcp.",
    ).prefault({}),
    udp: duration("Life of an idle UDP entry.").optional(),
    sctp: mapping(perState(SCTP_STATES), "SCTP, by state.").prefault({}),
  },
  'How long an idle connection entry lives: seconds, or text such as "90s", "15m", "1h30m".',
);

const limits = mapping(
  {
    connections: whole(1, CONNECTIONS_MAX, "Entries in the connection table.").default(1_048_576),
    fragmentMemory: size(64 * 1024, 1024 * MIB, "Memory for datagrams waiting for fragments.").default(
      4 * MIB,
    ),
    fragmentTimeout: duration("How long a datagram may wait for its last fragment.").default(seconds(30)),
    repliesPerSecond: whole(0, 1_000_000, "Answers of the director's own: RST, ICMP errors, echo.").default(
      1000,
    ),
  },
  "Bounds on memory and on the director's own answers.",
);

/**
 * The schema of a whole file.
 * @param schedulers - names that can be asked for, in the order they are shown
 */
export const configFileSchema = (schedulers: readonly string[]) =>
  mapping(
    {
      services: list(service(schedulers), SERVICES_MAX, "Virtual services."),
      timeouts: timeouts.prefault({}),
      limits: limits.prefault({}),
      unserved: choice(
        ["reject", "drop"],
        "A packet to a virtual address and a port without a service: answer (TCP RST, ICMP port unreachable) or not.",
      ).default("reject"),
      answerEcho: yesOrNo("Virtual addresses answer ping.").default(true),
      removedServers: removedServers.default("drain"),
      ipvs: ipvsSettings.prefault({}),
      host: hostSchema.prefault({}),
    },
    "Configuration of vsnat.",
  );

export type ConfigFile = z.output<ReturnType<typeof configFileSchema>>;

/**
 * The shape of a configuration file, value by value. Relations between values are in relations.ts.
 *
 * One definition serves three readers: the daemon (parsing), editors (the published JSON Schema) and people (the
 * descriptions). Defaults are here and nowhere else, except time-outs, which depend on the profile.
 */
import type * as z from "zod";
import { seconds } from "../../base/environment.ts";
import { SCTP_STATES, TCP_STATES } from "../../nat/configuration.ts";
import { hostSchema } from "./host-schema.ts";
import { ipvsSettings } from "./ipvs-schema.ts";
import { ownApplications } from "./own-application-schema.ts";
import { MARK_RULES_MAX, MASQUERADE_RULES_MAX, markRule, masqueradeRule } from "./rule-schema.ts";
import { pluginModules } from "./scheduler-schema.ts";
import { removedServers, service } from "./service-schema.ts";
import { choice, duration, list, mapping, size, whole, yesOrNo } from "./value.ts";

export const SERVICES_MAX = 4096;
/** 2^24 entries are 2 GiB at 128 bytes each. */
const CONNECTIONS_MAX = 1 << 24;
const MIB = 1024 * 1024;

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
 * @param applications - likewise
 */
export const configFileSchema = (schedulers: readonly string[], applications: readonly string[]) =>
  mapping(
    {
      services: list(service(schedulers, applications), SERVICES_MAX, "Virtual services."),
      marks: list(
        markRule,
        MARK_RULES_MAX,
        "Rules that give packets a mark; the first that fits counts.",
      ).default([]),
      masquerade: list(
        masqueradeRule(applications),
        MASQUERADE_RULES_MAX,
        "Connections that hosts behind the director open through it; the first rule that fits counts.",
      ).default([]),
      schedulers: pluginModules.default([]),
      applications: ownApplications.default([]),
      timeouts: timeouts.prefault({}),
      limits: limits.prefault({}),
      unserved: choice(
        ["reject", "drop"],
        "A packet to a virtual address and a port without a service: answer (TCP RST, ICMP port unreachable) or not.",
      ).default("reject"),
      answerEcho: yesOrNo("Virtual addresses answer ping.").default(true),
      removedServers: removedServers.default("drain"),
      ipvs: ipvsSettings.prefault({}),
      fastPath: choice(
        ["auto", "off", "required"],
        "Known connections inside the kernel (eBPF); auto: where it allows that; required: or do not run.",
      ).default("auto"),
      host: hostSchema.prefault({}),
    },
    "Configuration of vsnat.",
  );

export type ConfigFile = z.output<ReturnType<typeof configFileSchema>>;

/** The `services` part of a configuration file. */
import * as z from "zod";
import { seconds } from "../../base/environment.ts";
import { REMOVAL_POLICIES, SCHEDULER_FLAGS } from "../../nat/configuration.ts";
import { parseAddress } from "../../wire/address.ts";
import { application } from "./application-schema.ts";
import { LISTEN_PATTERN, parseEndpoint, parseListen, SERVER_PATTERN } from "./endpoint.ts";
import type { Parsed } from "./parsed.ts";
import { DURATION_PATTERN, DURATION_SECONDS_MAX, PERSISTENCE_SECONDS, parseDuration } from "./quantity.ts";
import { sourcePool } from "./rule-schema.ts";
import { schedulerName } from "./scheduler-schema.ts";
import { choice, duration, INT31_MAX, leaf, list, mapping, textLeaf, whole, yesOrNo } from "./value.ts";

export const SERVERS_PER_SERVICE_MAX = 4096;

const serverAddress = textLeaf(
  {
    pattern: SERVER_PATTERN,
    description: "ADDRESS:PORT, IPv6 in brackets; without a port, the service's or the client's.",
  },
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

export const removedServers = choice(
  REMOVAL_POLICIES,
  "Connections of a removed server: go on, dropped in silence, both ends told, begun anew elsewhere, or that for UDP only.",
);

const netmask = leaf(
  {
    anyOf: [
      { type: "string", pattern: "^\\d+\\.\\d+\\.\\d+\\.\\d+$" },
      { type: "integer", minimum: 1, maximum: 128 },
    ],
    description: "Clients that count as one: an IPv4 mask, or an IPv6 prefix length.",
  },
  (input): Parsed<string> => {
    const mask = typeof input === "string" ? parseAddress(input) : undefined;
    const isMask = mask?.family === 4 && mask.words[0] !== 0;
    const isLength = typeof input === "number" && Number.isInteger(input) && input >= 1 && input <= 128;
    return isMask || isLength
      ? { value: String(input) }
      : { wanted: "a mask such as 255.255.255.0 or, for IPv6, a prefix length from 1 to 128" };
  },
);

const persistence = z.union([
  leaf(
    {
      anyOf: [
        { const: true },
        { type: "integer", minimum: 1, maximum: DURATION_SECONDS_MAX },
        { type: "string", pattern: DURATION_PATTERN },
      ],
      description: "How long a client stays with its server after its last new connection; true: 6 minutes.",
    },
    (input): Parsed<number> => {
      const parsed = input === true ? { value: PERSISTENCE_SECONDS } : parseDuration(input);
      return "wanted" in parsed ? { wanted: `true, or a mapping, or ${parsed.wanted}` } : parsed;
    },
  ).transform((timeout) => ({ timeout: seconds(timeout) })),
  mapping(
    {
      timeout: duration("How long a client stays with its server after its last new connection.").default(
        seconds(PERSISTENCE_SECONDS),
      ),
      netmask: netmask.exactOptional(),
      engine: choice(["sip"], "sip: the Call-ID of SIP over UDP pins, too.").exactOptional(),
    },
    "Persistence with options.",
  ),
]);

const fullNat = mapping(
  {
    sources: sourcePool("Addresses that servers see as the client; the director's own."),
    clients: choice(["all", "servers"], "Which clients: all, or only the service's own servers.").default(
      "all",
    ),
  },
  "Servers see the client at an address of the director's, so that their answers come back to it.",
);

/** One service. @param schedulers - names that can be asked for, in the order they are shown @param applications - likewise */
export const service = (schedulers: readonly string[], applications: readonly string[]) =>
  mapping(
    {
      listen: textLeaf(
        {
          pattern: LISTEN_PATTERN,
          description:
            "PROTOCOL://VIP:PORT, or FIRST-LAST or * in place of PORT; tcp, udp or sctp; IPv6 in brackets. Or fwmark://MARK, fwmark6://MARK.",
        },
        parseListen,
      ),
      scheduler: schedulerName(schedulers).default("wlc"),
      schedulerFlags: list(
        choice(SCHEDULER_FLAGS, "A flag of the scheduler."),
        SCHEDULER_FLAGS.length,
        "Flags of the scheduler, as ipvsadm's -b.",
      ).exactOptional(),
      persistence: persistence.exactOptional(),
      onePacket: yesOrNo("UDP: schedule every packet for itself and remember nothing.").default(false),
      removedServers: removedServers.exactOptional(),
      fullNat: fullNat.exactOptional(),
      proxyProtocol: choice(
        ["v2"],
        "TCP: tell the server the client's address in a PROXY header.",
      ).exactOptional(),
      app: application(applications).exactOptional(),
      servers: list(server, SERVERS_PER_SERVICE_MAX, "Real servers, in the order they are added."),
    },
    "A virtual service.",
  );

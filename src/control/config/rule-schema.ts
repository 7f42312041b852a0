/** The `marks` and `masquerade` parts of a configuration file. */

import { applicationName } from "./application-name.ts";
import { MARK_MAX, SERVICE_PROTOCOLS } from "./endpoint.ts";
import {
  POOL_PATTERN,
  PORTS_PATTERN,
  PREFIX_PATTERN,
  type PrefixValue,
  parsePool,
  parsePorts,
  parsePrefix,
  parseUnicastPrefix,
  SOURCE_ADDRESSES_MAX,
} from "./network.ts";
import type { Parsed } from "./parsed.ts";
import { choice, leaf, list, mapping, textLeaf, whole } from "./value.ts";

export const MARK_RULES_MAX = 256;
export const MASQUERADE_RULES_MAX = 64;
/** Prefixes of one masquerade rule: each is a policy rule of the kernel's. */
const PREFIXES_MAX = 64;
/** Addresses of a mark rule's destination. */
const MARKED_ADDRESSES_MAX = 65_536;

const textOf = ({ text }: PrefixValue): string => text;

const prefix = (description: string) =>
  textLeaf({ pattern: PREFIX_PATTERN, description }, parsePrefix).transform(textOf);

const unicastPrefix = (description: string) =>
  textLeaf({ pattern: PREFIX_PATTERN, description }, parseUnicastPrefix).transform(textOf);

const markedPrefix = textLeaf(
  { pattern: PREFIX_PATTERN, description: "Virtual addresses: ADDRESS/LENGTH, or one address." },
  (text): Parsed<PrefixValue> => {
    const parsed = parseUnicastPrefix(text);
    if ("wanted" in parsed) return parsed;
    const { family, length } = parsed.value;
    return 2 ** ((family === "ipv4" ? 32 : 128) - length) <= MARKED_ADDRESSES_MAX
      ? parsed
      : {
          wanted: `at most ${MARKED_ADDRESSES_MAX} addresses: a prefix length from ${family === "ipv4" ? 16 : 112} on`,
        };
  },
).transform(textOf);

/** One port, or FIRST-LAST. */
export const ports = (description: string) =>
  leaf(
    {
      anyOf: [
        { type: "integer", minimum: 1, maximum: 65_535 },
        { type: "string", pattern: PORTS_PATTERN },
      ],
      description,
    },
    parsePorts,
  );

/** Addresses of the director's own, one by one or in ranges. */
export const sourcePool = (description: string) =>
  list(
    textLeaf(
      { pattern: POOL_PATTERN, description: "An address, or FIRST-LAST; IPv6 without brackets." },
      parsePool,
    ),
    SOURCE_ADDRESSES_MAX,
    description,
    1,
  );

export const markRule = mapping(
  {
    mark: whole(1, MARK_MAX, "What packets are marked with."),
    protocol: choice(SERVICE_PROTOCOLS, "Default: all of them.").exactOptional(),
    source: prefix("Clients. Default: everywhere.").exactOptional(),
    destination: markedPrefix,
    ports: ports("Destination ports: one, or FIRST-LAST. Default: all.").exactOptional(),
  },
  "Gives packets a mark, for mark services.",
);

/** @param applications - names that can be asked for */
export const masqueradeRule = (applications: readonly string[]) =>
  mapping(
    {
      from: list(unicastPrefix("ADDRESS/LENGTH, or one address."), PREFIXES_MAX, "Whose connections.", 1),
      to: prefix("Where to. Default: anywhere that is not a virtual address.").exactOptional(),
      sources: sourcePool(
        "Addresses the connections come from: a virtual address, or others of the director's own.",
      ),
      ports: ports(
        "Source ports to take, where a connection's own is not free. Default: 1024-65535.",
      ).exactOptional(),
      apps: list(
        applicationName(applications, "A module."),
        applications.length,
        "Application modules for connections to the ports of their protocols (ftp: 21).",
      ).exactOptional(),
    },
    "Connections that hosts behind the director open through it.",
  );

/** The `host` part of a configuration file: what is set up on this machine. */
import * as z from "zod";
import type { Parsed } from "./parsed.ts";
import { choice, leaf, list, mapping, textLeaf, whole } from "./value.ts";

const INTERFACE_PATTERN = "^[A-Za-z0-9_.-]{1,15}$";
const INTERFACES_MAX = 64;
const MTU_MIN = 1280;
const MTU_MAX = 65_535;
/** sockaddr_un holds 108 bytes with the final zero (unix(7)). */
const SOCKET_PATH_BYTES_MAX = 107;

/** A network interface's name as the kernel takes it, in the characters that need no quoting anywhere. */
const interfaceName = (description: string) =>
  textLeaf({ pattern: INTERFACE_PATTERN, description }, (text): Parsed<string> => {
    const isName = new RegExp(INTERFACE_PATTERN).test(text) && text !== "." && text !== "..";
    return isName
      ? { value: text }
      : { wanted: "an interface name: 1 to 15 letters, digits, '.', '_' or '-'" };
  });

const mtu = leaf(
  {
    anyOf: [{ const: "auto" }, { type: "integer", minimum: MTU_MIN, maximum: MTU_MAX }],
    description:
      "Largest packet towards clients and servers, bytes; auto: what the kernel knows of each path.",
  },
  (input): Parsed<"auto" | number> => {
    if (input === "auto") return { value: input };
    const isMtu =
      typeof input === "number" && Number.isInteger(input) && input >= MTU_MIN && input <= MTU_MAX;
    return isMtu ? { value: input } : { wanted: `auto, or a whole number from ${MTU_MIN} to ${MTU_MAX}` };
  },
);

const PROCESSOR_MAX = 31;

const processor = leaf(
  {
    anyOf: [{ enum: ["auto", "off"] }, { type: "integer", minimum: 0, maximum: PROCESSOR_MAX }],
    description:
      "Processor that moves the packets, the others receiving what it sends; auto: the first of several; off: any.",
  },
  (input): Parsed<"auto" | "off" | number> => {
    if (input === "auto" || input === "off") return { value: input };
    const isNumber =
      typeof input === "number" && Number.isInteger(input) && input >= 0 && input <= PROCESSOR_MAX;
    return isNumber
      ? { value: input }
      : { wanted: `auto, off, or a whole number from 0 to ${PROCESSOR_MAX}` };
  },
);

const controlSocket = textLeaf(
  { pattern: "^/", description: "Control socket; without it, VSNAT_SOCKET or /run/vsnat/vsnat.sock." },
  (text): Parsed<string> =>
    text.startsWith("/") && Buffer.byteLength(text) <= SOCKET_PATH_BYTES_MAX
      ? { value: text }
      : { wanted: `an absolute path of at most ${SOCKET_PATH_BYTES_MAX} bytes` },
);

export const hostSchema = mapping(
  {
    device: interfaceName("Name of the TUN device.").default("vs0"),
    routingTable: whole(
      1,
      2_147_483_647,
      "Routing table that brings answers of real servers to the device.",
    ).default(7683),
    rulePriority: whole(1, 32_000, "Priority of the first of the policy rules.").default(7683),
    announce: z
      .union([
        choice(["auto", "off"], "auto: where a virtual address lies in an interface's subnet; off: nowhere."),
        list(interfaceName("An interface."), INTERFACES_MAX, "Just these interfaces."),
      ])
      .meta({
        description: "Interfaces on which the director answers ARP and neighbour discovery for the VIPs.",
      })
      .default("auto"),
    mtu: mtu.default("auto"),
    queueLength: whole(16, 65_536, "Packets the TUN device may keep waiting.").default(4096),
    processor: processor.default("off"),
    controlSocket: controlSocket.optional(),
  },
  "What is set up on this machine.",
);

/** Policy routing rules over rtnetlink (Linux: include/uapi/linux/fib_rules.h, struct fib_rule_hdr). */
import type { Family } from "../../../wire/address.ts";
import {
  Attributes,
  addressToBytes,
  fromKernelFamily,
  MessageWriter,
  RequestFlag,
  toKernelFamily,
} from "./message.ts";

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FIB_RULE_HDR_BYTES = 12;

const FRA_DST = 1;
const FRA_SRC = 2;
const FRA_IIFNAME = 3;
const FRA_PRIORITY = 6;
const FRA_SUPPRESS_IFGROUP = 13;
const FRA_SUPPRESS_PREFIXLEN = 14;
const FRA_TABLE = 15;
const FRA_PROTOCOL = 21;
const FRA_IP_PROTO = 22;
/** Every other attribute narrows a rule down in a way that is not modelled here. */
const MODELLED = new Set([
  FRA_DST,
  FRA_SRC,
  FRA_IIFNAME,
  FRA_PRIORITY,
  FRA_SUPPRESS_IFGROUP,
  FRA_SUPPRESS_PREFIXLEN,
  FRA_TABLE,
  FRA_PROTOCOL,
  FRA_IP_PROTO,
]);

const ACTION_LOOKUP = 1;
const ACTION_UNREACHABLE = 7;
/** FRA_SUPPRESS_* when nothing is suppressed. */
const NOT_SUPPRESSED = 0xffffffff;

export interface Rule {
  readonly family: Family;
  /** Lower ones come first; 0 is the local table, 32766 the main table. */
  readonly priority: number;
  /** `unreachable` refuses the packet with an ICMP error. */
  readonly action: "lookup" | "unreachable";
  /** For `lookup`; 0 otherwise. */
  readonly table: number;
  /** One host or a prefix, as text: "172.16.0.2", "172.16.0.0/24". */
  readonly from?: string;
  /** Name of the interface a packet came in on. */
  readonly inputDevice?: string;
  /** 1: ICMP, 58: ICMPv6 */
  readonly ipProtocol?: number;
  /** Ignore what the table says if the route's interface is in this group. */
  readonly suppressGroup?: number;
  readonly protocol: number;
}

/** Fails with EEXIST when there is the same. */
export const addRule = (rule: Rule): MessageWriter =>
  encodeRule(RTM_NEWRULE, RequestFlag.acknowledge | RequestFlag.create | RequestFlag.exclusive, rule);

/** Fails with ENOENT when there is none. */
export const deleteRule = (rule: Rule): MessageWriter =>
  encodeRule(RTM_DELRULE, RequestFlag.acknowledge, rule);

export const dumpRules = (family: Family): MessageWriter =>
  new MessageWriter(RTM_GETRULE, RequestFlag.dump).u8(toKernelFamily(family), 0, 0, 0, 0, 0, 0, 0).u32(0);

function encodeRule(message: number, flags: number, rule: Rule): MessageWriter {
  const [sourceText, lengthText] = rule.from?.split("/") ?? [];
  const source = sourceText === undefined ? undefined : addressToBytes(sourceText);
  const sourceBits = lengthText === undefined ? (source?.length ?? 0) * 8 : Number(lengthText);
  const isLookup = rule.action === "lookup";
  const writer = new MessageWriter(message, flags)
    .u8(toKernelFamily(rule.family), 0, sourceBits, 0)
    .u8(isLookup && rule.table < 256 ? rule.table : 0, 0, 0, isLookup ? ACTION_LOOKUP : ACTION_UNREACHABLE)
    .u32(0)
    .attributeU32(FRA_PRIORITY, rule.priority)
    .attributeU8(FRA_PROTOCOL, rule.protocol);
  if (isLookup) writer.attributeU32(FRA_TABLE, rule.table);
  if (source !== undefined) writer.attribute(FRA_SRC, source);
  if (rule.inputDevice !== undefined) writer.attributeText(FRA_IIFNAME, rule.inputDevice);
  if (rule.ipProtocol !== undefined) writer.attributeU8(FRA_IP_PROTO, rule.ipProtocol);
  if (rule.suppressGroup !== undefined) writer.attributeU32(FRA_SUPPRESS_IFGROUP, rule.suppressGroup);
  return writer;
}

/** @returns undefined for a rule of another family or of a kind not modelled here, which is none of ours. */
export function decodeRule(body: DataView): Rule | undefined {
  if (body.byteLength < FIB_RULE_HDR_BYTES) return undefined;
  const family = fromKernelFamily(body.getUint8(0));
  const sourceBits = body.getUint8(2);
  const kind = body.getUint8(7);
  const attributes = new Attributes(body, FIB_RULE_HDR_BYTES);
  if (family === undefined || body.getUint8(1) !== 0) return undefined;
  if (kind !== ACTION_LOOKUP && kind !== ACTION_UNREACHABLE) return undefined;
  if (attributes.types.some((type) => !MODELLED.has(type))) return undefined;
  if ((attributes.u32(FRA_SUPPRESS_PREFIXLEN) ?? NOT_SUPPRESSED) !== NOT_SUPPRESSED) return undefined;
  const source = attributes.address(FRA_SRC);
  const isHost = sourceBits === (family === 4 ? 32 : 128);
  const from = source === undefined || isHost ? source : `${source}/${sourceBits}`;
  const inputDevice = attributes.text(FRA_IIFNAME);
  const ipProtocol = attributes.u8(FRA_IP_PROTO);
  const suppressGroup = attributes.u32(FRA_SUPPRESS_IFGROUP) ?? NOT_SUPPRESSED;
  return {
    family,
    priority: attributes.u32(FRA_PRIORITY) ?? 0,
    action: kind === ACTION_LOOKUP ? "lookup" : "unreachable",
    table: kind === ACTION_LOOKUP ? (attributes.u32(FRA_TABLE) ?? body.getUint8(4)) : 0,
    ...(from === undefined ? {} : { from }),
    ...(inputDevice === undefined ? {} : { inputDevice }),
    ...(ipProtocol === undefined ? {} : { ipProtocol }),
    ...(suppressGroup === NOT_SUPPRESSED ? {} : { suppressGroup }),
    protocol: attributes.u8(FRA_PROTOCOL) ?? 0,
  };
}

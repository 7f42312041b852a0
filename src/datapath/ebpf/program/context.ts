/**
 * What every stage of the fast path takes for granted: where things are in registers, on the stack and in the kernel's
 * structures, and which of the kernel's functions it calls (Linux: include/uapi/linux/bpf.h).
 *
 *   r6  the packet's context (struct __sk_buff)
 *   r7  the flow found, from the look-up on
 *   r8  its connection, from the guards on; the packet's number, from the counting on; the copy for the audit, from the
 *       rewriting on
 *   r9  bytes of the IP packet
 */
import { at, type Instruction, type Place } from "../asm/instruction.ts";

/** Of struct __sk_buff. */
export const CONTEXT = {
  length: at("r6", 0),
  packetType: at("r6", 4),
  protocol: at("r6", 16),
  hasVlanTag: at("r6", 20),
  data: at("r6", 76),
  dataEnd: at("r6", 80),
  gsoBytes: at("r6", 176),
} as const;

export const Helper = {
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  processor: 8,
  changeTransportChecksum: 11,
  loadBytes: 26,
  pullData: 39,
  findRoute: 69,
  ringReserve: 131,
  ringSubmit: 132,
  ringDiscard: 133,
  redirectToNeighbour: 152,
  coarseTime: 160,
} as const;
const HELPER_NAMES = new Map(Object.entries(Helper).map(([name, number]) => [number as number, name]));
export const helperName = (helper: number): string => HELPER_NAMES.get(helper) ?? `helper ${helper}`;

/** The verdict TCX_NEXT: to the next program, and then up the stack. */
export const PASS = -1;
/** What the kernel returns for a packet that it will send elsewhere (TC_ACT_REDIRECT). */
export const REDIRECT = 7;

/** struct bpf_redir_neigh: family and address of a neighbour. */
export const NEIGHBOUR_BYTES = 20;

/** Places on the stack. Addresses lie on multiples of eight. */
export const STACK = {
  key: at("r10", -40),
  neighbour: at("r10", -108),
  tcpFlags: at("r10", -116),
  /** Bytes of IP and transport header. */
  headerBytes: at("r10", -120),
  device: at("r10", -124),
  /** Key of an array. */
  index: at("r10", -128),
  now: at("r10", -136),
  /** Behind this packet. */
  state: at("r10", -140),
  /** 1: this packet begins a connection, for which a server was chosen here. */
  isBorn: at("r10", -144),
  /** Choosing: struct bpf_fib_lookup. */
  route: at("r10", -208),
  /** Tuple of answers. */
  answer: at("r10", -248),
  flow: at("r10", -312),
  service: at("r10", -336),
  hop: at("r10", -360),
  /** Of answers. */
  way: at("r10", -364),
  epoch: at("r10", -368),
  /** Record + 1 of the connection in whose place another begins; 0: none. Its generation, and its tuple of answers. */
  replaced: at("r10", -372),
  replacedGeneration: at("r10", -376),
  replacedAnswer: at("r10", -416),
} as const satisfies Readonly<Record<string, Place>>;

/** The place some bytes further on. */
export const further = ({ base, offset }: Place, bytes: number): Place => at(base, offset + bytes);

/** Where every stage sends a packet that is not for it: untouched, to the slow path. */
export const SLOW_PATH = "slow path";

/** Where the look-up sends a packet of no flow, and where it comes back to with the flow made for it, in r0. */
export const CHOOSE = (family: Family): string => `IPv${family} choose`;
/** Where a client's SYN goes whose flow is known. */
export const AGAIN = (family: Family): string => `IPv${family} again`;
export const FOUND = (family: Family): string => `IPv${family} found`;

export const ETHERNET_BYTES = 14;

export type Family = 4 | 6;
/** Code of one stage. */
export type Stage = readonly Instruction[];

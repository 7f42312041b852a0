/**
 * What is in the maps, for the program and for this process. Everything is in the byte order of the machine, except
 * addresses and ports, which are as the packet has them.
 *
 *   flows        hash    FlowKey → Flow           what to do with a packet; two for a connection
 *   connections  array   record → Connection      what became of it; by the connection table's record numbers
 *   servers      array   number, CPU → Count      counters of a destination, one line for each processor
 *   epochs       array   number → u32             flows of a destination count while they have its epoch
 *   ways         array   number → Way             where packets leave
 *   control      array   one Control              switches, the TCP state table, timeouts
 *   news         ring    News, Audit, Born        what the director must know
 *
 * For choosing servers, where a service's scheduler lets itself be asked ahead:
 *
 *   services     hash    ServiceKey → u32         number of the service's choice
 *   choices      array   number → Choice          which pick comes next
 *   picks        array   PICKS_MAX for a choice   numbers of destinations
 *   targets      array   destination → Target     what a connection with it is like
 *   hops         hash    HopKey → u32             number of the way through a neighbour
 *   reserve      array   one Reserve              records of the director's table for connections to come
 *
 * All arrays are mapped into the process: it reads and writes them without system calls.
 */
import { structure } from "./structure.ts";

/** Changes with every layout, so that nothing is ever read as what it is not. */
export const LAYOUT_VERSION = 3;

/** A packet's tuple. IPv4 addresses fill the first four bytes, the rest is zero. */
export const FlowKey = structure("FlowKey", {
  source: [4, 4],
  destination: [4, 4],
  sourcePort: 2,
  destinationPort: 2,
  protocol: 1,
  family: 1,
  zero: 2,
});

export const Flow = structure("Flow", {
  record: 4,
  /** Of the record; another one in the connection's line: this flow is over. */
  generation: 4,
  /** Number of the destination. */
  server: 4,
  epoch: 4,
  way: 4,
  /** What the new addresses add to a sum over the header: 0 nothing changed, else 1..0xffff, in packet order. */
  addressDelta: 2,
  /** Likewise the ports. */
  portDelta: 2,
  source: [4, 4],
  destination: [4, 4],
  sourcePort: 2,
  destinationPort: 2,
  /** 0 to the server, 1 to the client. */
  direction: 1,
  /** Mode of its state table: Mode.tcp or Mode.udp. */
  mode: 1,
  /** One bit: what kind of flow this is, see flowClass; and of flows to the server, maybe REUSABLE. */
  flowClass: 2,
});

/** One cache line a connection. */
export const Connection = structure("Connection", {
  /** CLOCK_MONOTONIC, nanoseconds. */
  lastSeen: 8,
  state: 4,
  /** Generation of the table's record while the connection is cached; 0: it is not. */
  generation: 4,
  /** From the client, those before it was cached included; the other counts begin at zero. */
  inPackets: 8,
  inBytes: 8,
  outPackets: 8,
  outBytes: 8,
  /** This process's own: what it has entered into its table, of each the lower half; and the flows' epoch. */
  enteredSeen: 4,
  enteredState: 4,
  enteredPackets: 4,
  epoch: 4,
});

/** IP packets of a destination. Bytes count IP headers. */
export const Count = structure("Count", { inPackets: 8, inBytes: 8, outPackets: 8, outBytes: 8 });

export const Way = structure("Way", {
  /** Interface it leaves by. */
  device: 4,
  /** Bytes of the largest IP packet. */
  mtuBytes: 4,
  /** Of the gateway, as the kernel numbers families; 0: none, the packet's destination is the neighbour. */
  gatewayFamily: 4,
  gateway: [4, 4],
  unused: 4,
});

/** Ways of following a flow's state. */
export const Mode = { tcp: 0, secureTcp: 1, udp: 2 } as const;
export const MODE_COUNT = 3;
/** Room for states and events in tables, so that a program finds its place by shifting. */
export const STATES_MAX = 16;
export const EVENTS_MAX = 8;
/** Rows of the state table; `none`: a segment with no flag that matters. */
export const Event = { syn: 0, fin: 1, ack: 2, rst: 3, none: 4 } as const;
/** UDP's states: whether the server has answered. */
export const UdpState = { unanswered: 0, answered: 1 } as const;

export const Control = structure("Control", {
  layoutVersion: 4,
  capacity: 4,
  /** 0: every packet goes to the slow path. */
  isEnabled: 4,
  /** 1: TCP follows Mode.secureTcp. */
  isSecureTcp: 4,
  /** Flow classes that are switched off. */
  classesOff: 4,
  /** A packet is audited when a number scattered like a random one has none of these bits. */
  auditMask: 4,
  /** News that found no room. */
  lostNews: 4,
  /** A connection is told of when its packets from the client, modulo the period, are as many as the threshold; 0: never. */
  toldPeriod: 4,
  toldThreshold: 4,
  /** As the kernel numbers it, the interface whose packets are routed as the director's are; 0: no servers are chosen. */
  routedAs: 4,
  /** 1: a SYN begins a new connection where the old one is over (conn_reuse_mode). */
  reuses: 4,
  unused: [4, 5],
  /** [mode][side][event][state] → state. */
  transitions: [1, MODE_COUNT * 2 * EVENTS_MAX * STATES_MAX],
  /** [mode][state] → nanoseconds an idle flow lives. */
  timeouts: [8, MODE_COUNT * STATES_MAX],
});

export const NewsKind = { state: 1, audit: 2, born: 3, returned: 4 } as const;

/** There is something to see about a connection. */
export const News = structure("News", {
  kind: 4,
  record: 4,
  generation: 4,
  /** Of the connection, behind the packet that this is about. */
  state: 4,
  /** Packets from the client before it, the lower half; and whether it is one: 1, 0. */
  inPackets: 4,
  isIn: 4,
});

/** A connection began, or (`returned`) could not, and its record is free. */
export const Born = structure("Born", {
  kind: 4,
  record: 4,
  generation: 4,
  /** Number of the destination. */
  server: 4,
  client: [4, 4],
  virtual: [4, 4],
  destination: [4, 4],
  clientPort: 2,
  virtualPort: 2,
  destinationPort: 2,
  protocol: 1,
  family: 1,
  /** Record + 1 of the connection whose place it took, 0: of none; and its generation. */
  replaced: 4,
  replacedGeneration: 4,
});

/** What a service is found by. IPv4 addresses fill the first four bytes, the rest is zero. */
export const ServiceKey = structure("ServiceKey", { address: [4, 4], port: 2, protocol: 1, family: 1 });

/** `sequence`: one pick after the other; the others: by Linux's hash_32 of the client's address, and its port. */
export const ChoiceKind = { none: 0, sequence: 1, source: 2, sourceAndPort: 3 } as const;
/** Most choices, and picks of one. */
export const CHOICES_MAX = 1024;
export const PICKS_MAX = 1024;

export const Choice = structure("Choice", {
  kind: 4,
  /** Picks of a sequence; behind the last one it goes on at `loopAt`. */
  length: 4,
  loopAt: 4,
  /** Picks taken, modulo 2^32. */
  taken: 4,
});

/** What is the same for every connection of a destination. Deltas as in Flow, to the server and to the client. */
export const Target = structure("Target", {
  address: [4, 4],
  way: 4,
  port: 2,
  addressDelta: 2,
  portDelta: 2,
  backAddressDelta: 2,
  backPortDelta: 2,
  unused: 2,
});

/** `family` and `gateway` as in Way. */
export const HopKey = structure("HopKey", { device: 4, family: 4, gateway: [4, 4] });

/** Records lent at a time, a power of two. */
export const LENT_MAX = 8192;
/** Of `lent`, slot n modulo LENT_MAX: { record, generation }. Taken up to `taken`, filled up to `given`, modulo 2^32. */
export const Reserve = structure("Reserve", { given: 4, taken: 4, lent: [8, LENT_MAX] });

/** IPv6 and TCP without options: 60 bytes. */
export const AUDITED_BYTES_MAX = 64;
/** Headers of a packet, from the IP header on, as it came and as it went. */
export const Audit = structure("Audit", {
  kind: 4,
  record: 4,
  generation: 4,
  direction: 2,
  headerBytes: 2,
  before: [1, AUDITED_BYTES_MAX],
  after: [1, AUDITED_BYTES_MAX],
});

/** The bit of a kind of flow that can be switched off by itself: by family, protocol, direction. */
export const flowClass = (family: 4 | 6, isUdp: boolean, direction: 0 | 1): number =>
  1 << ((family === 6 ? 4 : 0) | (isUdp ? 2 : 0) | direction);

/** Nothing hangs on the connection, nor it on anything: once it is over, another may take its place. */
export const REUSABLE = 0x100;

export const flowClassName = (bit: number): string => {
  const index = Math.log2(bit);
  return `IPv${index & 4 ? 6 : 4} ${index & 2 ? "UDP" : "TCP"} to the ${index & 1 ? "client" : "server"}`;
};

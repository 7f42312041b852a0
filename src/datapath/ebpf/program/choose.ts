/**
 * Beside the look-up: a packet of no flow that begins a connection, of a service whose scheduler was asked ahead. What
 * `nat/dispatcher.ts` does is done here: the next destination, the entry (one of the records lent by the director), its two
 * flows. Then the packet goes on as if it had been found.
 *
 * Whatever is not as it has to be is left to the director. From the claim of a record on, record and pick go back to it
 * through the news, before the packet comes.
 */
import { FTP_DATA_PORT } from "../../../nat/ftp-ports.ts";
import { TCP_STATE } from "../../../nat/protocol/tcp.ts";
import { BUCKET_BITS, GOLDEN_RATIO_32 } from "../../../schedulers/address-hash.ts";
import { Protocol } from "../../../wire/flow.ts";
import { TcpFlag } from "../../../wire/tcp.ts";
import {
  add,
  and,
  at,
  atomic,
  branch,
  call,
  goTo,
  label,
  load,
  mapOf,
  mapValue,
  mod,
  mov,
  mov32,
  mul,
  type Place,
  shiftLeft,
  shiftRight,
  store,
  sub,
  toNetwork,
  xor,
} from "../asm/instruction.ts";
import {
  Born,
  Choice,
  ChoiceKind,
  Connection,
  Control,
  EVENTS_MAX,
  Event,
  Flow,
  FlowKey,
  flowClass,
  HopKey,
  LENT_MAX,
  Mode,
  NewsKind,
  PICKS_MAX,
  REUSABLE,
  Reserve,
  ServiceKey,
  STATES_MAX,
  Target,
  Way,
} from "../maps/layout.ts";
import {
  AGAIN,
  CHOOSE,
  type Family,
  FOUND,
  further,
  Helper,
  SLOW_PATH,
  STACK,
  type Stage,
} from "./context.ts";
import { PLACES } from "./family.ts";
import { copy, element, look, zeros } from "./memory.ts";
import { discardNews, reserveNews, submitNews } from "./news.ts";

/** A connection begins with the second of these alone. */
const FIN_SYN_RST_ACK = TcpFlag.fin | TcpFlag.syn | TcpFlag.rst | TcpFlag.ack;
/** As a little-endian machine reads it. */
const FTP_DATA = FTP_DATA_PORT << 8;
/** Other processors may be faster that often. */
const CLAIMS = 4;
/** Above this no number of a destination: the director is to say that there is none. */
const SERVER_MAX = 0x7fffffff;
/** BPF_NOEXIST. */
const NEW = 1;

/** struct bpf_fib_lookup. */
const Route = {
  protocol: 1,
  sourcePort: 2,
  destinationPort: 4,
  mtuBytes: 6,
  device: 8,
  source: 16,
  destination: 32,
};
const ROUTE_BYTES = 64;
/** BPF_FIB_LOOKUP_SKIP_NEIGH. */
const WITHOUT_NEIGHBOUR = 4;
/** Largest of no packet: asks for the MTU. */
const ASKED_BYTES = 40;

const WORDS = [0, 4, 8, 12] as const;

/** Leaves the flow in r0 and goes back to the look-up. r7: choice, then target; r8: the news of it. */
export function choose(family: Family): Stage {
  const name = (what: string): string => `IPv${family} choose: ${what}`;
  const discard = name("discard");
  const giveBack = name("give back");
  const client = further(STACK.key, FlowKey.at.source);
  const virtual = further(STACK.key, FlowKey.at.destination);
  const clientPort = further(STACK.key, FlowKey.at.sourcePort);
  const virtualPort = further(STACK.key, FlowKey.at.destinationPort);
  const kind = further(STACK.key, FlowKey.at.protocol);
  return [
    ...again(family, name),
    goTo(name("may it begin")),
    label(CHOOSE(family)),
    store(4, STACK.replaced, 0),
    store(4, STACK.replacedGeneration, 0),
    label(name("may it begin")),
    ...mayBegin(family, name),
    mapValue("r1", "control", 0),
    load(4, "r1", at("r1", Control.at.routedAs)),
    branch("r1", "==", 0, SLOW_PATH),

    // Which service?
    ...copy(virtual, further(STACK.service, ServiceKey.at.address), 16),
    ...copy(virtualPort, further(STACK.service, ServiceKey.at.port), 2),
    ...copy(kind, further(STACK.service, ServiceKey.at.protocol), 2),
    ...look("services", STACK.service, SLOW_PATH),
    load(4, "r3", at("r0")),
    store(4, STACK.way, "r3"), // for a moment
    ...element("choices", "r3"),
    mov("r7", "r0"),
    load(4, "r1", at("r7", Choice.at.kind)),
    branch("r1", "==", ChoiceKind.none, SLOW_PATH),

    // Room for the news, and a record.
    ...reserveNews(Born.bytes),
    branch("r0", "==", 0, SLOW_PATH),
    mov("r8", "r0"),
    ...claim(name, discard),

    // r3: the pick
    load(4, "r5", at("r7", Choice.at.kind)),
    ...pick(name),
    load(4, "r1", STACK.way),
    shiftLeft("r1", Math.log2(PICKS_MAX)),
    and("r3", PICKS_MAX - 1),
    add("r3", "r1"),
    ...element("picks", "r3", giveBack),
    load(4, "r3", at("r0")),
    store(4, at("r8", Born.at.server), "r3"),
    branch("r3", ">", SERVER_MAX, giveBack),
    ...element("epochs", "r3", giveBack),
    ...copy(at("r0"), STACK.epoch, 4),
    load(4, "r3", at("r8", Born.at.server)),
    ...element("targets", "r3", giveBack),
    mov("r7", "r0"),

    ...wayBack(family, name, giveBack),

    // The connection's line, before anybody can find it.
    call(Helper.coarseTime),
    store(8, STACK.now, "r0"),
    ...firstState(name),
    load(4, "r3", at("r8", Born.at.record)),
    ...element("connections", "r3", giveBack),
    load(8, "r1", STACK.now),
    store(8, at("r0", Connection.at.lastSeen), "r1"),
    ...copy(STACK.state, at("r0", Connection.at.state), 4),
    ...copy(STACK.epoch, at("r0", Connection.at.epoch), 4),

    // What is in both flows, then that of answers; one that looks the same at the server is the director's to tell apart.
    ...copy(at("r8", Born.at.record), further(STACK.flow, Flow.at.record), 12), // record, generation, server
    ...copy(STACK.epoch, further(STACK.flow, Flow.at.epoch), 4),
    ...copy(at("r7", Target.at.address), further(STACK.answer, FlowKey.at.source), 16),
    ...copy(client, further(STACK.answer, FlowKey.at.destination), 16),
    ...copy(at("r7", Target.at.port), further(STACK.answer, FlowKey.at.sourcePort), 2),
    ...copy(clientPort, further(STACK.answer, FlowKey.at.destinationPort), 2),
    ...copy(kind, further(STACK.answer, FlowKey.at.protocol), 4),
    ...copy(virtual, further(STACK.flow, Flow.at.source), 16),
    ...copy(client, further(STACK.flow, Flow.at.destination), 16),
    ...copy(virtualPort, further(STACK.flow, Flow.at.sourcePort), 2),
    ...copy(clientPort, further(STACK.flow, Flow.at.destinationPort), 2),
    ...copy(STACK.way, further(STACK.flow, Flow.at.way), 4),
    ...copy(at("r7", Target.at.backAddressDelta), further(STACK.flow, Flow.at.addressDelta), 2),
    ...copy(at("r7", Target.at.backPortDelta), further(STACK.flow, Flow.at.portDelta), 2),
    ...flowKind(family, 1, name),
    load(4, "r1", STACK.replaced),
    branch("r1", "==", 0, name("fresh")),
    ...remove(STACK.replacedAnswer),
    ...remove(STACK.key),
    label(name("fresh")),
    ...insert(STACK.answer, giveBack),

    ...copy(client, further(STACK.flow, Flow.at.source), 16),
    ...copy(at("r7", Target.at.address), further(STACK.flow, Flow.at.destination), 16),
    ...copy(clientPort, further(STACK.flow, Flow.at.sourcePort), 2),
    ...copy(at("r7", Target.at.port), further(STACK.flow, Flow.at.destinationPort), 2),
    ...copy(at("r7", Target.at.way), further(STACK.flow, Flow.at.way), 4),
    ...copy(at("r7", Target.at.addressDelta), further(STACK.flow, Flow.at.addressDelta), 2),
    ...copy(at("r7", Target.at.portDelta), further(STACK.flow, Flow.at.portDelta), 2),
    ...flowKind(family, 0, name),
    ...insert(STACK.key, name("half")),

    // Tell the director, and go on.
    store(4, at("r8", Born.at.kind), NewsKind.born),
    ...copy(client, at("r8", Born.at.client), 16),
    ...copy(virtual, at("r8", Born.at.virtual), 16),
    ...copy(at("r7", Target.at.address), at("r8", Born.at.destination), 16),
    ...copy(clientPort, at("r8", Born.at.clientPort), 2),
    ...copy(virtualPort, at("r8", Born.at.virtualPort), 2),
    ...copy(at("r7", Target.at.port), at("r8", Born.at.destinationPort), 2),
    ...copy(kind, at("r8", Born.at.protocol), 2),
    ...copy(STACK.replaced, at("r8", Born.at.replaced), 4),
    ...copy(STACK.replacedGeneration, at("r8", Born.at.replacedGeneration), 4),
    ...submitNews("r8"),
    store(4, STACK.isBorn, 1),
    ...look("flows", STACK.key, SLOW_PATH),
    goTo(FOUND(family)),

    // Another processor had the same packet's like.
    label(name("half")),
    ...remove(STACK.answer),
    label(giveBack),
    store(4, at("r8", Born.at.kind), NewsKind.returned),
    ...submitNews("r8"),
    goTo(SLOW_PATH),
    label(discard),
    ...discardNews("r8"),
    goTo(SLOW_PATH),
  ];
}

/** A SYN of a flow that is known: its connection may be over. Its two flows go when the new ones come. */
function again(family: Family, name: (what: string) => string): Stage {
  const answer = STACK.replacedAnswer;
  return [
    label(AGAIN(family)),
    mapValue("r1", "control", 0),
    load(4, "r1", at("r1", Control.at.reuses)),
    branch("r1", "==", 0, SLOW_PATH),
    load(2, "r1", at("r7", Flow.at.flowClass)),
    and("r1", REUSABLE),
    branch("r1", "==", 0, SLOW_PATH),
    load(4, "r1", at("r8", Connection.at.state)),
    branch("r1", "==", TCP_STATE.timeWait, name("over")),
    branch("r1", "!=", TCP_STATE.close, SLOW_PATH),
    label(name("over")),
    load(4, "r1", at("r7", Flow.at.record)),
    add("r1", 1),
    store(4, STACK.replaced, "r1"),
    ...copy(at("r7", Flow.at.generation), STACK.replacedGeneration, 4),
    ...copy(at("r7", Flow.at.destination), further(answer, FlowKey.at.source), 16),
    ...copy(at("r7", Flow.at.source), further(answer, FlowKey.at.destination), 16),
    ...copy(at("r7", Flow.at.destinationPort), further(answer, FlowKey.at.sourcePort), 2),
    ...copy(at("r7", Flow.at.sourcePort), further(answer, FlowKey.at.destinationPort), 2),
    ...copy(further(STACK.key, FlowKey.at.protocol), further(answer, FlowKey.at.protocol), 4),
  ];
}

/** TCP: SYN alone; UDP: always. From a host's address and a port that it may have. */
function mayBegin(family: Family, name: (what: string) => string): Stage {
  const client = further(STACK.key, FlowKey.at.source);
  return [
    load(1, "r1", further(STACK.key, FlowKey.at.protocol)),
    branch("r1", "==", Protocol.udp, name("port")),
    load(4, "r1", STACK.tcpFlags),
    and("r1", FIN_SYN_RST_ACK),
    branch("r1", "!=", TcpFlag.syn, SLOW_PATH),
    label(name("port")),
    load(2, "r1", further(STACK.key, FlowKey.at.sourcePort)),
    branch("r1", "==", 0, SLOW_PATH),
    branch("r1", "==", FTP_DATA, SLOW_PATH),
    load(1, "r1", client),
    ...(family === 4
      ? [
          branch("r1", "==", 0, SLOW_PATH),
          branch("r1", "==", 127, SLOW_PATH),
          branch("r1", ">=", 224, SLOW_PATH),
        ]
      : [branch("r1", "==", 0xff, SLOW_PATH), load(8, "r1", client), branch("r1", "==", 0, SLOW_PATH)]),
  ];
}

/** A record of the reserve, into the news. Its slot is read before it is claimed: afterwards it may be filled anew. */
function claim(name: (what: string) => string, otherwise: string): Stage {
  return [
    ...Array.from({ length: CLAIMS }).flatMap(() => [
      mapValue("r1", "reserve", 0),
      load(4, "r0", at("r1", Reserve.at.taken)),
      load(4, "r2", at("r1", Reserve.at.given)),
      branch("r0", "==", "r2", otherwise),
      mov("r2", "r0"),
      and("r2", LENT_MAX - 1),
      shiftLeft("r2", 3),
      add("r2", "r1"),
      load(4, "r4", at("r2", Reserve.at.lent)),
      load(4, "r5", at("r2", Reserve.at.lent + 4)),
      mov("r2", "r0"),
      mov("r3", "r0"),
      add("r3", 1),
      atomic("compare-exchange", 4, at("r1", Reserve.at.taken), "r3"),
      mov32("r0", "r0"),
      branch("r0", "==", "r2", name("claimed")),
    ]),
    goTo(otherwise),
    label(name("claimed")),
    store(4, at("r8", Born.at.record), "r4"),
    store(4, at("r8", Born.at.generation), "r5"),
    store(4, at("r8", Born.at.server), -1),
  ];
}

/** Which pick, in r3. r5: the kind; r7: the choice. */
function pick(name: (what: string) => string): Stage {
  const client = further(STACK.key, FlowKey.at.source);
  return [
    branch("r5", "!=", ChoiceKind.sequence, name("hash")),
    mov("r3", 1),
    atomic("fetch-add", 4, at("r7", Choice.at.taken), "r3"),
    mov32("r3", "r3"),
    load(4, "r1", at("r7", Choice.at.length)),
    branch("r3", "<", "r1", name("picked")),
    load(4, "r2", at("r7", Choice.at.loopAt)),
    sub("r3", "r2"),
    sub("r1", "r2"),
    mod("r3", "r1"),
    add("r3", "r2"),
    goTo(name("picked")),

    label(name("hash")),
    load(4, "r3", client),
    ...WORDS.slice(1).flatMap((word) => [load(4, "r1", further(client, word)), xor("r3", "r1")]),
    toNetwork(32, "r3"),
    branch("r5", "==", ChoiceKind.source, name("multiply")),
    load(2, "r1", further(STACK.key, FlowKey.at.sourcePort)),
    toNetwork(16, "r1"),
    add("r3", "r1"),
    label(name("multiply")),
    mul("r3", GOLDEN_RATIO_32),
    mov32("r3", "r3"),
    shiftRight("r3", 32 - BUCKET_BITS),
    label(name("picked")),
  ];
}

/** The way to the client, as the kernel routes what the director writes; into STACK.way. */
function wayBack(family: Family, name: (what: string) => string, otherwise: string): Stage {
  const { kernelNumber, addressBytes } = PLACES[family];
  const client = further(STACK.key, FlowKey.at.source);
  const routed = further(STACK.route, Route.destination);
  const words = WORDS.filter((word) => word < addressBytes);
  return [
    ...zeros(STACK.route, ROUTE_BYTES),
    store(1, STACK.route, kernelNumber),
    load(1, "r1", further(STACK.key, FlowKey.at.protocol)),
    store(1, further(STACK.route, Route.protocol), "r1"),
    ...copy(further(STACK.key, FlowKey.at.destinationPort), further(STACK.route, Route.sourcePort), 2),
    ...copy(further(STACK.key, FlowKey.at.sourcePort), further(STACK.route, Route.destinationPort), 2),
    store(2, further(STACK.route, Route.mtuBytes), ASKED_BYTES),
    mapValue("r1", "control", 0),
    load(4, "r1", at("r1", Control.at.routedAs)),
    store(4, further(STACK.route, Route.device), "r1"),
    ...copy(further(STACK.key, FlowKey.at.destination), further(STACK.route, Route.source), addressBytes),
    ...copy(client, routed, addressBytes),
    mov("r1", "r6"),
    mov("r2", "r10"),
    add("r2", STACK.route.offset),
    mov("r3", ROUTE_BYTES),
    mov("r4", WITHOUT_NEIGHBOUR),
    call(Helper.findRoute),
    branch("r0", "!=", 0, otherwise),
    load(1, "r1", STACK.route),
    branch("r1", "!=", kernelNumber, otherwise),

    ...copy(further(STACK.route, Route.device), further(STACK.hop, HopKey.at.device), 4),
    ...zeros(further(STACK.hop, HopKey.at.family), HopKey.bytes - HopKey.at.family),
    ...words.flatMap((word) => [
      load(4, "r1", further(client, word)),
      load(4, "r2", further(routed, word)),
      branch("r1", "!=", "r2", name("gateway")),
    ]),
    goTo(name("hop")),
    label(name("gateway")),
    store(4, further(STACK.hop, HopKey.at.family), kernelNumber),
    ...copy(routed, further(STACK.hop, HopKey.at.gateway), addressBytes),
    label(name("hop")),
    ...look("hops", STACK.hop, otherwise),
    load(4, "r3", at("r0")),
    store(4, STACK.way, "r3"),
    ...element("ways", "r3", otherwise),
    load(4, "r1", at("r0", Way.at.mtuBytes)),
    load(2, "r2", further(STACK.route, Route.mtuBytes)),
    branch("r1", ">", "r2", otherwise),
  ];
}

/** The state behind a connection's first packet, into STACK.state. */
function firstState(name: (what: string) => string): Stage {
  return [
    mapValue("r1", "control", 0),
    mov("r3", Mode.udp),
    load(1, "r2", further(STACK.key, FlowKey.at.protocol)),
    branch("r2", "==", Protocol.udp, name("mode")),
    load(4, "r3", at("r1", Control.at.isSecureTcp)),
    and("r3", 1),
    label(name("mode")),
    shiftLeft("r3", 1 + Math.log2(EVENTS_MAX) + Math.log2(STATES_MAX)),
    add("r1", "r3"),
    load(1, "r1", at("r1", Control.at.transitions + Event.syn * STATES_MAX)),
    store(4, STACK.state, "r1"),
  ];
}

/** Direction, mode, and the bit by which an audit could switch it off. */
function flowKind(family: Family, direction: 0 | 1, name: (what: string) => string): Stage {
  const set = (mode: number, isUdp: boolean): Stage => [
    store(1, further(STACK.flow, Flow.at.direction), direction),
    store(1, further(STACK.flow, Flow.at.mode), mode),
    store(
      2,
      further(STACK.flow, Flow.at.flowClass),
      flowClass(family, isUdp, direction) | (direction === 0 ? REUSABLE : 0),
    ),
  ];
  const isUdp = name(`UDP ${direction}`);
  const end = name(`kind ${direction}`);
  return [
    load(1, "r1", further(STACK.key, FlowKey.at.protocol)),
    branch("r1", "==", Protocol.udp, isUdp),
    ...set(Mode.tcp, false),
    goTo(end),
    label(isUdp),
    ...set(Mode.udp, true),
    label(end),
  ];
}

const insert = (key: Place, otherwise: string): Stage => [
  mapOf("r1", "flows"),
  mov("r2", "r10"),
  add("r2", key.offset),
  mov("r3", "r10"),
  add("r3", STACK.flow.offset),
  mov("r4", NEW),
  call(Helper.mapUpdate),
  branch("r0", "!=", 0, otherwise),
];

const remove = (key: Place): Stage => [
  mapOf("r1", "flows"),
  mov("r2", "r10"),
  add("r2", key.offset),
  call(Helper.mapDelete),
];

/**
 * H.245 as far as it has transport addresses: openLogicalChannel and its acknowledgment (ITU-T H.245 annex A), with what has
 * to be passed over to find them. Alternatives of H.320 and H.324 terminals (H.222.0, H.223, V.76), which have no
 * transport addresses, end the reading. Extensions are left out where nothing in them is wanted: they have a length.
 */
import {
  addressAndPort,
  beginning,
  boolean,
  bytes,
  choice,
  holding,
  listOf,
  nothing,
  number,
  octets,
  optional,
  type PerType,
  plainChoice,
  plainSequence,
  sequence,
  text,
  unknown,
} from "./per.ts";

/** IPv4 ones are noted by the name, IPv6 ones by the name and "6". */
export const unicastAddress = (name: string): PerType =>
  choice([
    choice([
      sequence([addressAndPort(name, 4)]),
      sequence([bytes(6), bytes(4), bytes(2)]), // iPXAddress
      sequence([addressAndPort(`${name}6`, 16)]),
      bytes(16), // netBios
      sequence([plainChoice([nothing, nothing]), bytes(4), number(0, 65_535), listOf(bytes(4))]), // iPSourceRouteAddress
    ]),
    choice([sequence([bytes(4), number(0, 65_535)]), sequence([bytes(16), number(0, 65_535)])]), // multicastAddress
  ]);

const nonStandardParameter = plainSequence([
  plainChoice([octets, plainSequence([number(0, 255), number(0, 255), number(0, 65_535)])]),
  octets,
]);

// What is transferred

const bitRate = number(0, 1_073_741_823);
const flags = (count: number): PerType[] => Array.from({ length: count }, () => boolean);

const videoCapability = choice([
  nonStandardParameter,
  sequence([optional(number(1, 4)), optional(number(1, 4)), boolean, number(1, 19_200), boolean]), // h261
  sequence([
    ...flags(11),
    ...[bitRate, number(0, 262_143), number(0, 16_383), number(0, 16_383), number(0, 15)].map(optional),
    optional(number(0, 4_294_967_295)),
  ]), // h262
  sequence([
    ...[1, 2, 3, 4, 5].map(() => optional(number(1, 32))),
    number(1, 192_400),
    ...flags(5),
    optional(number(0, 524_287)),
    optional(number(0, 65_535)),
  ]), // h263
  sequence([
    boolean,
    ...[bitRate, number(0, 262_143), number(0, 16_383), number(0, 16_383), number(0, 15)].map(optional),
    optional(number(0, 4_294_967_295)),
  ]), // is11172
]);

const frames = number(1, 256);
const audioCapability = choice([
  nonStandardParameter,
  ...[1, 2, 3, 4, 5, 6, 7].map(() => frames), // g711 to g722
  plainSequence([frames, boolean]), // g7231
  ...[frames, frames, frames], // g728, g729, g729AnnexA
  sequence([...flags(8), number(1, 448)]), // is11172
  sequence([...flags(20), number(1, 1130)]), // is13818
]);

const dataProtocolCapability = choice([nonStandardParameter, ...[1, 2, 3, 4, 5, 6].map(() => nothing)]);
const dataApplicationCapability = sequence([
  choice([
    nonStandardParameter,
    ...[1, 2, 3].map(() => dataProtocolCapability), // t120, dsm-cc, userData
    plainSequence([dataProtocolCapability, plainChoice([nothing, plainSequence(flags(19))])]), // t84
    ...[1, 2].map(() => dataProtocolCapability), // t434, h224
    plainSequence([dataProtocolCapability, octets]), // nlpid
    nothing, // dsvdControl
    dataProtocolCapability, // h222DataPartitioning
  ]),
  number(0, 4_294_967_295),
]);

const dataType = choice([
  nonStandardParameter,
  nothing,
  videoCapability,
  audioCapability,
  dataApplicationCapability,
  choice([nonStandardParameter, nothing]), // encryptionData
]);

// Where it is transferred

const h2250LogicalChannelParameters = beginning(10, [
  optional(listOf(nonStandardParameter)),
  number(0, 255),
  optional(number(1, 255)),
  optional(unicastAddress("mediaChannel")),
  optional(boolean),
  optional(unicastAddress("mediaControlChannel")),
]);

const h2250LogicalChannelAckParameters = beginning(5, [
  optional(listOf(nonStandardParameter)),
  optional(number(1, 255)),
  optional(unicastAddress("mediaChannel")),
  optional(unicastAddress("mediaControlChannel")),
]);

const networkAccessParameters = beginning(2, [
  optional(choice([nothing, nothing])),
  choice([
    unknown, // q2931Address
    text(128, 4), // e164Address
    unicastAddress("separateStack"),
  ]),
]);

const logicalChannelNumber = number(1, 65_535);

export const openLogicalChannel = sequence(
  [
    logicalChannelNumber,
    sequence([
      optional(number(0, 65_535)),
      dataType,
      choice([unknown, unknown, unknown], { 0: h2250LogicalChannelParameters }),
    ]),
    optional(
      sequence([dataType, optional(choice([unknown, unknown], { 0: h2250LogicalChannelParameters }))]),
    ),
  ],
  { 0: networkAccessParameters },
);

const openLogicalChannelAck = sequence(
  [
    logicalChannelNumber,
    optional(
      sequence([
        logicalChannelNumber,
        optional(number(0, 65_535)),
        optional(choice([unknown], { 0: h2250LogicalChannelParameters })),
      ]),
    ),
  ],
  { 0: networkAccessParameters, 1: choice([h2250LogicalChannelAckParameters]) },
);

const others = (count: number): PerType[] => Array.from({ length: count }, () => unknown);

export const multimediaSystemControlMessage = choice([
  choice([...others(3), openLogicalChannel, ...others(7)]),
  choice([...others(5), openLogicalChannelAck, ...others(13)]),
  ...others(2),
]);

/** Of SETUP and its answers (H.225.0 section 7.3, H.323 section 8.1.7); Linux reads as many. */
const LIST_MAX = 30;

export const fastStart = listOf(holding(openLogicalChannel), LIST_MAX);
export const h245Control = listOf(holding(multimediaSystemControlMessage), LIST_MAX);

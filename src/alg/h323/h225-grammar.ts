/**
 * H.225.0 as far as it has transport addresses: call signalling (the user-user part of Q.931 messages) and RAS, ITU-T H.225.0
 * annex H, with what has to be passed over to find them. Tokens and what else is seldom in the root end the reading.
 */
import { fastStart, h245Control } from "./h245-grammar.ts";
import {
  addressAndPort,
  beginning,
  boolean,
  bytes,
  choice,
  listOf,
  noted,
  nothing,
  number,
  octets,
  optional,
  type PerType,
  plainSequence,
  sequence,
  text,
  unknown,
} from "./per.ts";

/** Linux reads as many. */
const ADDRESSES_MAX = 10;

/** IPv4 ones are noted by the name, IPv6 ones by the name and "6". */
const transportAddress = (name: string): PerType =>
  choice([
    plainSequence([addressAndPort(name, 4)]),
    sequence([bytes(4), number(0, 65_535), listOf(bytes(4)), choice([nothing, nothing])]), // ipSourceRoute
    plainSequence([bytes(6), bytes(4), bytes(2)]), // ipxAddress
    sequence([addressAndPort(`${name}6`, 16)]),
    bytes(16), // netBios
    text(20), // nsap
    nonStandardParameter,
  ]);
const transportAddresses = (name: string): PerType => listOf(transportAddress(name), ADDRESSES_MAX);

// What stands in front of them

const objectIdentifier = octets;
const h221NonStandard = sequence([number(0, 255), number(0, 255), number(0, 65_535)]);
const nonStandardParameter: PerType = plainSequence([choice([objectIdentifier, h221NonStandard]), octets]);

/** Digits have four bits each, letters of BMPString sixteen. */
const DIGIT_BITS = 4;
const WIDE_BITS = 16;
const aliasAddress = choice([text(128, DIGIT_BITS), text(256, WIDE_BITS)]);
const aliases = listOf(aliasAddress);
const wideText = text(128, WIDE_BITS);

const supportedProtocol = choice([
  nonStandardParameter,
  ...[1, 2, 3, 4, 5, 6, 7, 8].map(() => sequence([optional(nonStandardParameter)])),
]);
const vendorIdentifier = sequence([h221NonStandard, optional(text(256)), optional(text(256))]);
const endpointType = sequence([
  optional(nonStandardParameter),
  optional(vendorIdentifier),
  optional(sequence([optional(nonStandardParameter)])), // gatekeeper
  optional(sequence([optional(listOf(supportedProtocol)), optional(nonStandardParameter)])), // gateway
  optional(sequence([optional(nonStandardParameter)])), // mcu
  optional(sequence([optional(nonStandardParameter)])), // terminal
  boolean,
  boolean,
]);
const identifier = bytes(16);
const callIdentifier = sequence([identifier]);
const qseriesOptions = sequence([...[1, 2, 3, 4, 5, 6, 7].map(() => boolean), sequence([boolean, boolean])]);
const nothings = (count: number): PerType[] => Array.from({ length: count }, () => nothing);

// Call signalling

const h245Address = transportAddress("h245Address");

const setup = sequence(
  [
    objectIdentifier,
    optional(h245Address),
    optional(aliases),
    endpointType,
    optional(aliases),
    optional(transportAddress("destCallSignalAddress")),
    optional(aliases),
    optional(listOf(number(0, 65_535))),
    boolean,
    identifier,
    choice(nothings(3)), // conferenceGoal
    optional(qseriesOptions),
    choice(nothings(4)), // callType
  ],
  { 0: transportAddress("sourceCallSignalAddress"), 6: fastStart, 24: h245Control },
);
/** Of callProceeding and alerting, which are alike as far as is read here. */
const proceeding = sequence([objectIdentifier, endpointType, optional(h245Address)], { 4: fastStart });
const connect = sequence([objectIdentifier, optional(h245Address), endpointType, identifier], {
  4: fastStart,
});
const information = sequence([objectIdentifier], { 3: fastStart });
const releaseComplete = sequence([objectIdentifier, optional(choice(nothings(12)))]);
const facility = sequence(
  [
    objectIdentifier,
    optional(transportAddress("alternativeAddress")),
    optional(aliases),
    optional(identifier),
    choice(nothings(4)), // reason
  ],
  { 6: h245Address, 7: fastStart },
);
const progress = sequence([
  objectIdentifier,
  endpointType,
  optional(h245Address),
  callIdentifier,
  optional(choice([nonStandardParameter, nothing, unknown, unknown])), // h245SecurityMode
  optional(unknown), // tokens
  optional(unknown), // cryptoTokens
  optional(fastStart),
]);

export const userInformation = beginning(1, [
  sequence(
    [
      choice([setup, proceeding, connect, proceeding, information, releaseComplete, facility], {
        0: progress,
      }),
      optional(nonStandardParameter),
    ],
    { 2: h245Control },
  ),
]);

// RAS

const requestNumber = number(1, 65_535);
const rasAddress = transportAddress("rasAddress");
const timeToLive = noted("timeToLive", number(1, 4_294_967_295));
const others = (count: number): PerType[] => nothings(count).map(() => unknown);

const gatekeeperRequest = beginning(4, [
  requestNumber,
  objectIdentifier,
  optional(nonStandardParameter),
  rasAddress,
]);
const gatekeeperConfirm = beginning(2, [
  requestNumber,
  objectIdentifier,
  optional(nonStandardParameter),
  optional(wideText),
  rasAddress,
]);
const registrationRequest = sequence(
  [
    requestNumber,
    objectIdentifier,
    optional(nonStandardParameter),
    boolean,
    transportAddresses("ownSignalAddress"),
    transportAddresses("rasAddress"),
    endpointType,
    optional(aliases),
    optional(wideText),
    vendorIdentifier,
  ],
  { 1: timeToLive },
);
const registrationConfirm = sequence(
  [
    requestNumber,
    objectIdentifier,
    optional(nonStandardParameter),
    transportAddresses("ownSignalAddress"),
    optional(aliases),
    optional(wideText),
    wideText,
  ],
  { 1: timeToLive },
);
const unregistrationRequest = beginning(3, [requestNumber, transportAddresses("formerSignalAddress")]);
const admissionRequest = beginning(7, [
  requestNumber,
  choice(nothings(4)), // callType
  optional(choice(nothings(2))), // callModel
  wideText,
  optional(aliases),
  optional(transportAddress("calledAddress")),
  optional(aliases),
  aliases,
  optional(transportAddress("callingAddress")),
]);
const admissionConfirm = beginning(2, [
  requestNumber,
  number(0, 4_294_967_295), // bandWidth
  choice(nothings(2)), // callModel
  transportAddress("whereToCall"),
]);
const locationRequest = beginning(2, [
  requestNumber,
  optional(wideText),
  aliases,
  optional(nonStandardParameter),
  rasAddress,
]);
const locationConfirm = beginning(1, [requestNumber, transportAddress("whereToCall"), rasAddress]);
const infoRequestResponse = beginning(3, [
  optional(nonStandardParameter),
  requestNumber,
  endpointType,
  wideText,
  rasAddress,
  transportAddresses("reportedSignalAddress"),
]);

export const rasMessage = choice([
  gatekeeperRequest,
  gatekeeperConfirm,
  unknown,
  registrationRequest,
  registrationConfirm,
  unknown,
  unregistrationRequest,
  ...others(2),
  admissionRequest,
  admissionConfirm,
  ...others(7),
  locationRequest,
  locationConfirm,
  ...others(2),
  infoRequestResponse,
  ...others(2),
]);

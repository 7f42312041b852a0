/**
 * ICMP echo as a flow: the identifier plays the port of whoever asks (RFC 792, RFC 4443 section 4.1), the other port is 0.
 * So an exchange that a host behind the director begins is masqueraded by the same tables as TCP and UDP.
 */
import { type Flow, Protocol } from "../wire/flow.ts";
import { IcmpType } from "../wire/icmp.ts";
import { Icmpv6Type } from "../wire/icmpv6.ts";

const IDENTIFIER_AT = 4;

export const isEchoRequest = (view: DataView, { family, transportAt }: Flow): boolean =>
  view.getUint8(transportAt) === (family === 4 ? IcmpType.echoRequest : Icmpv6Type.echoRequest);

/** Fill in the ports of an echo request or reply. @returns false for any other message */
export function readEcho(view: DataView, flow: Flow): boolean {
  const isRequest = isEchoRequest(view, flow);
  const reply = flow.family === 4 ? IcmpType.echoReply : Icmpv6Type.echoReply;
  if (!isRequest && view.getUint8(flow.transportAt) !== reply) return false;
  const identifier = view.getUint16(flow.transportAt + IDENTIFIER_AT);
  flow.sourcePort = isRequest ? identifier : 0;
  flow.destinationPort = isRequest ? 0 : identifier;
  flow.hasPorts = true;
  return true;
}

/** Where an echo message keeps its identifier. */
export const echoIdentifierAt = (flow: Flow): number => flow.transportAt + IDENTIFIER_AT;

export const isEchoProtocol = (protocol: number): boolean =>
  protocol === Protocol.icmp || protocol === Protocol.icmp6;

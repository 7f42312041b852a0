/**
 * Life of an idle connection entry by protocol and state. Two tables: vsnat's own defaults, and Linux IPVS's
 * (net/netfilter/ipvs/ip_vs_proto_{tcp,udp,sctp}.c as described by the project's reference), used for comparison.
 */
import { type Seconds, seconds } from "../base/environment.ts";
import { SCTP_STATES, type SctpState, TCP_STATES, type Timeouts } from "./configuration.ts";

const IPVS_TCP: Timeouts["tcp"] = {
  none: seconds(2),
  established: seconds(900),
  synSent: seconds(120),
  synReceived: seconds(60),
  finWait: seconds(120),
  timeWait: seconds(120),
  close: seconds(10),
  closeWait: seconds(60),
  lastAck: seconds(30),
  listen: seconds(120),
  synAck: seconds(120),
};

/** IPVS's table. `ipvsadm --set` changes ESTABLISHED, FIN_WAIT and UDP only; here every cell can be set. */
export const IPVS_TIMEOUTS: Timeouts = {
  tcp: IPVS_TCP,
  secureTcp: IPVS_TCP,
  udp: seconds(300),
  sctp: {
    none: seconds(2),
    init1: seconds(4),
    init: seconds(61),
    cookieSent: seconds(61),
    cookieReplied: seconds(61),
    cookieWait: seconds(61),
    cookie: seconds(61),
    cookieEchoed: seconds(61),
    established: seconds(900),
    shutdownSent: seconds(61),
    shutdownReceived: seconds(61),
    shutdownAckSent: seconds(61),
    rejected: seconds(4),
    closed: seconds(61),
  },
};

const DEFAULT_TCP: Timeouts["tcp"] = {
  ...IPVS_TCP,
  synSent: seconds(60),
  synReceived: seconds(60),
  synAck: seconds(60),
  finWait: seconds(60),
  timeWait: seconds(60),
  closeWait: seconds(60),
  lastAck: seconds(60),
};

/** The founding document's: SYN states 60 s, ESTABLISHED 900 s, FIN states 60 s, UDP 300 s; the rest is IPVS's. */
export const DEFAULT_TIMEOUTS: Timeouts = { ...IPVS_TIMEOUTS, tcp: DEFAULT_TCP, secureTcp: DEFAULT_TCP };

/** Timeouts by state code, in the order of TCP_STATES. */
export const tcpTimeoutList = (timeouts: Timeouts["tcp"]): Seconds[] =>
  TCP_STATES.map((state) => timeouts[state]);

/** Timeouts by state code, in the order of SCTP_STATES. */
export const sctpTimeoutList = (timeouts: Timeouts): Seconds[] =>
  SCTP_STATES.map((state: SctpState) => timeouts.sctp[state]);

/** The `ipvs` part of a configuration file: Linux IPVS's sysctls under their own names. */
import { seconds } from "../../base/environment.ts";
import { IPVS_DEFAULTS } from "../../nat/ipvs-settings.ts";
import { duration, mapping, numeral, whole } from "./value.ts";

const INT31_MAX = 2_147_483_647;

const onOff = (description: string) => numeral([0, 1], description);
const defence = (description: string) =>
  numeral([0, 1, 3], `${description}: 0 never, 1 while memory is low, 3 always.`);

const defaults = IPVS_DEFAULTS;

export const ipvsSettings = mapping(
  {
    am_droprate: whole(0, INT31_MAX, "One of so many packets is dropped while drop_packet is 3.").default(
      defaults.am_droprate,
    ),
    amemthresh: whole(0, INT31_MAX, "Pages of 4 KiB: below so much available memory it is low.").default(
      defaults.amemthresh,
    ),
    conn_reuse_mode: numeral(
      [0, 1, 2, 3],
      "1: a SYN on a closed connection begins a new one; 0: it goes on with the old.",
    ).default(defaults.conn_reuse_mode as 1),
    drop_entry: defence("Remove connections at random").default(defaults.drop_entry),
    drop_packet: defence("Drop packets that would begin a connection").default(defaults.drop_packet),
    secure_tcp: defence("A TCP state table that takes no client's word for a connection").default(
      defaults.secure_tcp,
    ),
    expire_nodest_conn: onOff("1: connections of removed servers expire.").default(
      defaults.expire_nodest_conn,
    ),
    expire_quiescent_template: onOff("1: persistence ends with a server's weight 0.").default(
      defaults.expire_quiescent_template,
    ),
    lblc_expiration: duration("How long lblc remembers an unused address.").default(
      seconds(defaults.lblc_expiration),
    ),
    lblcr_expiration: duration("How long lblcr remembers an unused address.").default(
      seconds(defaults.lblcr_expiration),
    ),
    nat_icmp_send: onOff("1: a server's packet of no connection is answered port unreachable.").default(
      defaults.nat_icmp_send,
    ),
    run_estimation: onOff("0: rates stand still.").default(defaults.run_estimation),
    schedule_icmp: onOff("1: an ICMP error about no connection may begin one.").default(
      defaults.schedule_icmp,
    ),
    sloppy_tcp: onOff("1: any TCP segment but RST may begin a connection.").default(defaults.sloppy_tcp),
    sloppy_sctp: onOff("1: any SCTP packet may begin a connection.").default(defaults.sloppy_sctp),
  },
  "Settings of Linux IPVS (net.ipv4.vs.*), under their own names.",
);

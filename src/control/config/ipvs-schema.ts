/** The `ipvs` part of a configuration file: Linux IPVS's sysctls under their own names. */
import { seconds } from "../../base/environment.ts";
import { IPVS_DEFAULTS } from "../../nat/ipvs-settings.ts";
import type { Parsed } from "./parsed.ts";
import { DURATION_PATTERN, DURATION_SECONDS_MAX, parseDuration } from "./quantity.ts";
import { duration, INT31_MAX, leaf, mapping, numeral, whole } from "./value.ts";

const onOff = (description: string) => numeral([0, 1], description);
const defence = (description: string) =>
  numeral([0, 1, 3], `${description}: 0 never, 1 while memory is low, 3 always.`);

/** As `duration`, and 0. */
const durationOrNone = (description: string) =>
  leaf(
    {
      anyOf: [
        { type: "integer", minimum: 0, maximum: DURATION_SECONDS_MAX },
        { type: "string", pattern: DURATION_PATTERN },
      ],
      description,
    },
    (input): Parsed<number> => {
      const parsed = input === 0 ? { value: 0 } : parseDuration(input);
      return "value" in parsed ? parsed : { wanted: `0, or ${parsed.wanted}` };
    },
  );

const INT31 = { type: "integer", minimum: 0, maximum: INT31_MAX };

/** sync_threshold: two numbers, as in the sysctl's text. */
const thresholdAndPeriod = (description: string) =>
  leaf(
    { type: "array", items: INT31, minItems: 2, maxItems: 2, description },
    (input): Parsed<readonly [number, number]> => {
      const [threshold, period, more] = Array.isArray(input) ? (input as unknown[]) : [];
      return isInt31(threshold) &&
        isInt31(period) &&
        more === undefined &&
        (threshold < period || period === 0)
        ? { value: [threshold, period] }
        : {
            wanted:
              "[threshold, period], such as [3, 50]: whole numbers, the threshold below the period unless that is 0",
          };
    },
  );

const isInt31 = (input: unknown): input is number =>
  typeof input === "number" && Number.isInteger(input) && input >= 0 && input <= INT31_MAX;

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
    backup_only: onOff(
      "1: while a backup daemon runs, packets from clients are passed on as they are.",
    ).default(defaults.backup_only),
    sync_threshold: thresholdAndPeriod(
      "At which packets from its client others are told of a connection: number, modulo the period.",
    ).default([...defaults.sync_threshold]),
    sync_refresh_period: durationOrNone(
      "No news that moves the end of an entry's life by less than this. 0: any.",
    ).default(defaults.sync_refresh_period),
    sync_retries: numeral([0, 1, 2, 3], "How often news is repeated within sync_refresh_period.").default(
      defaults.sync_retries,
    ),
    sync_persist_mode: onOff("1: of persistent services others are told of the templates only.").default(
      defaults.sync_persist_mode,
    ),
    sync_version: onOff("Of messages sent; both are understood.").default(defaults.sync_version),
    sync_sock_size: whole(
      0,
      INT31_MAX,
      "Bytes of the system's buffer for messages. 0: not asked for.",
    ).default(defaults.sync_sock_size),
    sync_qlen_max: whole(0, INT31_MAX, "Messages that may wait for the system to take them.").default(
      defaults.sync_qlen_max,
    ),
  },
  "Settings of Linux IPVS (net.ipv4.vs.*), under their own names.",
);

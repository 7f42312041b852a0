/** Linux IPVS's own defaults of its sysctls. */
import type { IpvsSettings } from "./configuration.ts";

export const IPVS_DEFAULTS: IpvsSettings = {
  am_droprate: 10,
  amemthresh: 1024,
  conn_reuse_mode: 1,
  drop_entry: 0,
  drop_packet: 0,
  secure_tcp: 0,
  expire_nodest_conn: 0,
  expire_quiescent_template: 0,
  lblc_expiration: 86_400,
  lblcr_expiration: 86_400,
  nat_icmp_send: 0,
  run_estimation: 1,
  schedule_icmp: 0,
  sloppy_tcp: 0,
  sloppy_sctp: 0,
};

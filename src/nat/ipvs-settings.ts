/** Linux IPVS's own defaults of its sysctls; but for sync_qlen_max, which there depends on the memory. */
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
  backup_only: 0,
  sync_threshold: [3, 50],
  sync_refresh_period: 0,
  sync_retries: 0,
  sync_persist_mode: 0,
  sync_version: 1,
  sync_sock_size: 0,
  sync_qlen_max: 4096,
};

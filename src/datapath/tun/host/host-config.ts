/** What the operator may say about the host's set-up, and the marks by which the host's set-up is known to be ours. */

/** Tag of our routes, rules and proxy entries (rtm_protocol, shown as "proto 183"): not in iproute2's rt_protos. */
export const ROUTE_PROTOCOL = 183;
/** Interface group of the TUN device, so that one rule can say "no route that leads back into it". */
export const DEVICE_GROUP = 7683;

export interface HostConfig {
  /** Name of the TUN device: "vs0". */
  readonly device: string;
  /** Table that leads to the TUN device; nobody else may use it. */
  readonly routingTable: number;
  /** Priority of the first policy rule; the two numbers behind it are used as well. */
  readonly rulePriority: number;
  /** Where to answer for virtual addresses: on interfaces whose subnet holds one, nowhere, or on these interfaces. */
  readonly announce: "auto" | "off" | readonly string[];
  /** Largest packet towards clients and servers; auto: what routes and links say. */
  readonly mtu: "auto" | number;
  /** Packets the TUN device may keep waiting. */
  readonly queueLength?: number;
  /** Processor that moves the packets; auto: the first of several; off: any. */
  readonly processor: "auto" | "off" | number;
  readonly controlSocket?: string;
}

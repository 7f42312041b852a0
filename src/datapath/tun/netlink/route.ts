/** Routes over rtnetlink (Linux: include/uapi/linux/rtnetlink.h, struct rtmsg). One next hop each. */
import type { Family } from "../../../wire/address.ts";
import {
  Attributes,
  addressToBytes,
  fromKernelFamily,
  MessageWriter,
  RequestFlag,
  toKernelFamily,
} from "./message.ts";

const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTMSG_BYTES = 12;

const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
const RTA_ENCAP = 22;
const RTAX_MTU = 2;

export const MAIN_TABLE = 254;
/** Stands in the 8-bit field for a table whose number is larger. */
const TABLE_COMPAT = 252;
const SCOPE_UNIVERSE = 0;
const SCOPE_LINK = 253;
const RTM_F_CLONED = 0x200;
const RTM_F_LOOKUP_TABLE = 0x1000;

const ROUTE_TYPES = [
  "unspecified", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit",
] as const; // biome-ignore format: the index is the kernel's number
export type RouteType = (typeof ROUTE_TYPES)[number] | "other";

/** Who made a route or rule ("proto" of iproute2). */
export const PROTOCOL_RA = 9;
const PROTOCOL_STATIC = 4;

export interface Route {
  readonly family: Family;
  readonly type: RouteType;
  /** "0.0.0.0" or "::" for a default route. */
  readonly destination: string;
  readonly prefixLength: number;
  readonly table: number;
  /** Index of the interface; 0: none. */
  readonly device: number;
  readonly gateway?: string;
  readonly preferredSource?: string;
  /** There is more to it than this says: several next hops, one of the other family, encapsulation. */
  readonly isPartial?: true;
  /** MTU metric, or what path-MTU discovery found. */
  readonly mtu?: number;
  readonly protocol: number;
}

/** A route to add or delete: a whole interface behind it, no gateway. */
export interface DeviceRoute {
  readonly family: Family;
  readonly destination: string;
  readonly prefixLength: number;
  readonly table: number;
  readonly device: number;
  readonly protocol: number;
}

/** Fails with EEXIST when there is one to the same destination. */
export const addRoute = (route: DeviceRoute): MessageWriter =>
  deviceRoute(RTM_NEWROUTE, RequestFlag.acknowledge | RequestFlag.create | RequestFlag.exclusive, route);

/** Fails with ESRCH when there is none. */
export const deleteRoute = (route: DeviceRoute): MessageWriter =>
  deviceRoute(RTM_DELROUTE, RequestFlag.acknowledge, route);

export const dumpRoutes = (family: Family): MessageWriter =>
  new MessageWriter(RTM_GETROUTE, RequestFlag.dump).u8(toKernelFamily(family), 0, 0, 0, 0, 0, 0, 0).u32(0);

/** Which way would a packet of our own go to `destination`? */
export function askRoute(family: Family, destination: string): MessageWriter {
  const address = addressToBytes(destination);
  return new MessageWriter(RTM_GETROUTE, 0)
    .u8(toKernelFamily(family), address.length * 8, 0, 0, 0, 0, 0, 0)
    .u32(RTM_F_LOOKUP_TABLE)
    .attribute(RTA_DST, address);
}

function deviceRoute(message: number, flags: number, route: DeviceRoute): MessageWriter {
  const scope = route.family === 4 ? SCOPE_LINK : SCOPE_UNIVERSE;
  const table = route.table > 255 ? TABLE_COMPAT : route.table;
  const writer = new MessageWriter(message, flags)
    .u8(toKernelFamily(route.family), route.prefixLength, 0, 0)
    .u8(table, route.protocol || PROTOCOL_STATIC, scope, ROUTE_TYPES.indexOf("unicast"))
    .u32(0)
    .attributeU32(RTA_TABLE, route.table)
    .attributeU32(RTA_OIF, route.device);
  return route.prefixLength === 0 ? writer : writer.attributeAddress(RTA_DST, route.destination);
}

const PARTLY_READ = [RTA_MULTIPATH, RTA_VIA, RTA_ENCAP];

/** Which way would a packet go that came in at an interface? */
export function askForwarding(
  family: Family,
  destination: string,
  source: string,
  inputDevice: number,
): MessageWriter {
  const [to, from] = [addressToBytes(destination), addressToBytes(source)];
  return new MessageWriter(RTM_GETROUTE, 0)
    .u8(toKernelFamily(family), to.length * 8, from.length * 8, 0, 0, 0, 0, 0)
    .u32(0)
    .attribute(RTA_DST, to)
    .attribute(RTA_SRC, from)
    .attributeU32(RTA_IIF, inputDevice);
}

/** @returns undefined for what is not an IPv4 or IPv6 route, and for cached ones of a dump. */
export function decodeRoute(body: DataView): Route | undefined {
  if (body.byteLength < RTMSG_BYTES) return undefined;
  const family = fromKernelFamily(body.getUint8(0));
  if (family === undefined) return undefined;
  const attributes = new Attributes(body, RTMSG_BYTES);
  const gateway = attributes.address(RTA_GATEWAY);
  const preferredSource = attributes.address(RTA_PREFSRC);
  const mtu = attributes.nested(RTA_METRICS)?.u32(RTAX_MTU);
  return {
    family,
    type: ROUTE_TYPES[body.getUint8(7)] ?? "other",
    destination: attributes.address(RTA_DST) ?? (family === 4 ? "0.0.0.0" : "::"),
    prefixLength: body.getUint8(1),
    table: attributes.u32(RTA_TABLE) ?? body.getUint8(4),
    device: attributes.u32(RTA_OIF) ?? 0,
    ...(gateway === undefined ? {} : { gateway }),
    ...(preferredSource === undefined ? {} : { preferredSource }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(PARTLY_READ.some((type) => attributes.bytes(type) !== undefined) && { isPartial: true as const }),
    protocol: body.getUint8(5),
  };
}

/** True for a cached entry (an IPv6 path-MTU exception), which no configuration made. */
export const isCachedRoute = (body: DataView): boolean => (body.getUint32(8, true) & RTM_F_CLONED) !== 0;

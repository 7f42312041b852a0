/** What IPVS accepts of an edit, with its errors; and what else a user-space NAT director cannot do. */
import { transportsOf } from "../alg/registry.ts";
import {
  type OwnApplication,
  REMOVAL_POLICIES,
  type ServiceConfig,
  type ServiceKey,
} from "../nat/configuration.ts";
import { isSameService, nameOf } from "../nat/virtual-service.ts";
import { parseAddress as parseIp } from "../wire/address.ts";
import { type AddressFamily, MARK_MAX, parseAddress } from "./config/endpoint.ts";
import { describeValue } from "./config/issue.ts";
import { SOURCE_ADDRESSES_MAX } from "./config/network.ts";
import { DURATION_SECONDS_MAX } from "./config/quantity.ts";
import { INT31_MAX } from "./config/value.ts";
import type { EditErrorCode, ServiceAttributes } from "./edit.ts";
import { type ServerKey, type ServerValues, serverText } from "./manual-layer.ts";

/** An edit that cannot be made; caught where edits are judged. */
export class EditRefusal extends Error {
  override readonly name = "EditRefusal";
  readonly code: EditErrorCode;

  constructor(code: EditErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** @throws EditRefusal: EINVAL. @returns the key with its address in canonical form. */
export function checkedServiceKey(
  attempt: string,
  { protocol, address, port, mark }: ServiceKey,
): ServiceKey {
  const refuse = (found: string, wanted: string): never => {
    throw new EditRefusal("EINVAL", `${attempt}: found ${found}, wanted ${wanted}`);
  };
  if (protocol === "fwmark") {
    if (mark === undefined || !isWhole(mark, 1, MARK_MAX)) {
      return refuse(`the mark ${describeValue(mark)}`, `a whole number from 1 to ${MARK_MAX}`);
    }
    if (address !== "0.0.0.0" && address !== "::") return refuse(describeValue(address), '"0.0.0.0" or "::"');
    if (port !== 0) return refuse(`the port ${port}`, "0, because a mark says all");
    return { protocol, address, port, mark };
  }
  if (mark !== undefined) return refuse(`a mark with the protocol ${protocol}`, "a mark with fwmark only");
  if (!isWhole(port, 0, 0xffff)) return refuse(`the port ${port}`, "a whole number from 0 to 65535");
  return { protocol, address: checkedAddress(attempt, address), port };
}

/** @throws EditRefusal: EINVAL. @returns the key with its address in canonical form. */
export function checkedServerKey(attempt: string, { address, port }: ServerKey): ServerKey {
  if (!isWhole(port, 0, 0xffff)) {
    throw new EditRefusal(
      "EINVAL",
      `${attempt}: found the port ${port}, wanted a whole number from 0 to 65535`,
    );
  }
  return { address: checkedAddress(attempt, address), port };
}

function checkedAddress(attempt: string, text: string): string {
  const parsed = parseAddress(text);
  if ("value" in parsed) return parsed.value.address;
  throw new EditRefusal("EINVAL", `${attempt}: found ${describeValue(text)}, wanted ${parsed.wanted}`);
}

/**
 * Judge a service as it would be, among the others.
 * @param schedulers - names that can be asked for
 * @param others - services that run; one with the same key is left out of account
 * @param applications - modules besides the built-in ones
 * @throws EditRefusal: ENOENT for an unknown scheduler or engine, EEXIST for a range that overlaps, else EINVAL
 */
export function checkService(
  attempt: string,
  service: ServiceAttributes,
  schedulers: readonly string[],
  others: readonly ServiceConfig[],
  applications: readonly OwnApplication[] = [],
): void {
  const { protocol, scheduler, persistence, isOnePacket, removal, fullNat, proxyProtocol, app } = service;
  const require = (isMet: boolean, code: EditErrorCode, problem: string): void => {
    if (!isMet) throw new EditRefusal(code, `${attempt}: ${problem}`);
  };
  const isUdp = protocol === "udp" || protocol === "fwmark";
  require(scheduler === "none" ||
    schedulers.includes(
      scheduler,
    ), "ENOENT", `there is no scheduler ${describeValue(scheduler)}, wanted one of ${schedulers.join(", ")}`);
  if (persistence !== undefined) {
    const { timeout, netmask, engine } = persistence;
    require(engine === undefined ||
      engine === "sip", "ENOENT", `there is no persistence engine ${describeValue(engine)}, wanted sip`);
    require(isWhole(
      timeout,
      1,
      DURATION_SECONDS_MAX,
    ), "EINVAL", `the persistence timeout is ${describeValue(timeout)}, wanted 1 to ${DURATION_SECONDS_MAX} seconds`);
    require(netmask === undefined ||
      isNetmask(
        netmask,
        familyOf(service),
      ), "EINVAL", `the netmask is ${describeValue(netmask)}, wanted ${familyOf(service) === "ipv4" ? "one such as 255.255.255.0" : "1 to 128"}`);
    require(engine === undefined || isUdp, "EINVAL", "persistence by SIP is for UDP and mark services only");
  }
  require(!isOnePacket || isUdp, "EINVAL", "one-packet scheduling is for UDP and mark services only");
  require(!isOnePacket ||
    fullNat === undefined, "EINVAL", "one-packet scheduling and FullNAT exclude each other");
  require(!proxyProtocol || protocol === "tcp", "EINVAL", "the PROXY protocol is for TCP services only");
  const transports =
    app === undefined
      ? undefined
      : (transportsOf(app) ?? applications.find(({ name }) => name === app)?.transports);
  require(!app || transports !== undefined, "EINVAL", `there is no application module ${describeValue(app)}`);
  require(protocol === "fwmark" ||
    transports === undefined ||
    transports.includes(
      protocol,
    ), "EINVAL", `the module ${app} is for ${transports?.join(" and ").toUpperCase()} services only`);
  require(!app || !isOnePacket, "EINVAL", "application modules and one-packet scheduling exclude each other");
  require(!app || !proxyProtocol, "EINVAL", "application modules and the PROXY protocol exclude each other");
  require(removal === undefined ||
    REMOVAL_POLICIES.includes(
      removal,
    ), "EINVAL", `the removal policy is ${describeValue(removal)}, wanted one of ${REMOVAL_POLICIES.join(", ")}`);
  if (fullNat !== undefined) {
    const isPool = fullNat.sources.length >= 1 && fullNat.sources.length <= SOURCE_ADDRESSES_MAX;
    require(isPool, "EINVAL", `FullNAT has ${fullNat.sources.length} sources, wanted 1 to ${SOURCE_ADDRESSES_MAX}`);
    for (const source of fullNat.sources) {
      const parsed = parseAddress(source);
      const isFit = "value" in parsed && parsed.value.family === familyOf(service);
      require(isFit, "EINVAL", `the FullNAT source is ${describeValue(source)}, wanted a unicast ${familyName(service)} address`);
    }
  }
  checkPorts(attempt, service, others);
  const isServer = ({ address }: ServerKey): boolean => address === service.address;
  require(protocol === "fwmark" ||
    !others.some(({ destinations }) =>
      destinations.some(isServer),
    ), "EINVAL", `${service.address} is a real server: packets would go round in circles`);
}

function checkPorts(attempt: string, service: ServiceAttributes, others: readonly ServiceConfig[]): void {
  const { protocol, address, port, lastPort = port } = service;
  if (
    service.lastPort !== undefined &&
    !(protocol !== "fwmark" && port > 0 && isWhole(lastPort, port + 1, 0xffff))
  ) {
    const wanted = "one after the first, up to 65535, of a service with a port";
    throw new EditRefusal("EINVAL", `${attempt}: the last port is ${lastPort}, wanted ${wanted}`);
  }
  if (port === 0) return; // what no other service has
  const other = others.find(
    (one) =>
      one.address === address && one.protocol === protocol && one.port > 0 && !isSameService(one, service) &&
      one.port <= lastPort && (one.lastPort ?? one.port) >= port,
  ); // biome-ignore format: a condition reads as one
  if (other !== undefined) {
    throw new EditRefusal("EEXIST", `${attempt}: the service ${nameOf(other)} has ports of it`);
  }
}

/**
 * Judge a server as it would be.
 * @param services - all that run
 * @throws EditRefusal: EINVAL for its address, ERANGE for weight and thresholds
 */
export function checkServer(
  attempt: string,
  service: ServiceKey,
  server: ServerKey & ServerValues,
  services: readonly ServiceConfig[],
): void {
  const { address, weight, upperThreshold, lowerThreshold } = server;
  if (familyOf(server) !== familyOf(service)) {
    throw new EditRefusal(
      "EINVAL",
      `${attempt}: found ${address}, wanted an ${familyName(service)} address, as the service has`,
    );
  }
  if (!isWhole(weight, 0, INT31_MAX)) {
    throw new EditRefusal("ERANGE", `${attempt}: weight is ${weight}, wanted 0 to ${INT31_MAX}`);
  }
  if (!isWhole(upperThreshold, 0, INT31_MAX) || !isWhole(lowerThreshold, 0, upperThreshold)) {
    const found = `thresholds are ${upperThreshold} and ${lowerThreshold}`;
    throw new EditRefusal("ERANGE", `${attempt}: ${found}, wanted the lower one from 0 to the upper one`);
  }
  if (services.some((one) => one.protocol !== "fwmark" && one.address === address)) {
    const problem = "is a virtual address: packets would go round in circles";
    throw new EditRefusal("EINVAL", `${attempt}: ${serverText(server)} ${problem}`);
  }
}

export const isWhole = (value: number, min: number, max: number): boolean =>
  Number.isInteger(value) && value >= min && value <= max;

function isNetmask(text: string, family: AddressFamily): boolean {
  if (family === "ipv4") return parseIp(text)?.family === 4;
  return /^\d{1,3}$/.test(text) && isWhole(Number(text), 1, 128);
}

const familyOf = ({ address }: { readonly address: string }): AddressFamily =>
  address.includes(":") ? "ipv6" : "ipv4";
const familyName = (one: { readonly address: string }): string =>
  familyOf(one) === "ipv4" ? "IPv4" : "IPv6";

/**
 * The kernel's routing configuration, read and changed over one netlink socket (rtnetlink(7)). The kernel answers while
 * the request is being sent, so nothing here waits. Needs no `ip` command. Belongs to the network namespace of the
 * thread that made it.
 */
import type { Family } from "../../../wire/address.ts";
import {
  AF_NETLINK,
  addressOf,
  close,
  expectSuccess,
  recv,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SystemCallError,
  sendto,
  socket,
} from "../../system-call.ts";
import { decodeAddress, dumpAddresses, type InterfaceAddress } from "./interface-address.ts";
import { decodeLink, deleteLink, dumpLinks, type Link, type LinkSettings, setLink } from "./link.ts";
import { type MessageWriter, type NetlinkMessage, splitMessages } from "./message.ts";
import { addProxy, decodeProxy, deleteProxy, dumpProxies, type ProxyNeighbour } from "./proxy.ts";
import {
  addRoute,
  askForwarding,
  askRoute,
  type DeviceRoute,
  decodeRoute,
  deleteRoute,
  dumpRoutes,
  isCachedRoute,
  type Route,
} from "./route.ts";
import { addRule, decodeRule, deleteRule, dumpRules, type Rule } from "./rule.ts";

const NETLINK_ROUTE = 0;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const SOCKADDR_NL_BYTES = 12;
/** The kernel fills at most 32 KiB a message of a dump. */
const RECEIVE_BYTES = 65_536;

const ENOENT = 2;
const ESRCH = 3;
const ENODEV = 19;
const EOPNOTSUPP = 95;
const EAFNOSUPPORT = 97;
const ENETUNREACH = 101;
const EHOSTUNREACH = 113;

export class Rtnetlink {
  readonly #descriptor = expectSuccess(
    socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "socket AF_NETLINK", "talk to the kernel's routing",
  ); // biome-ignore format: one call
  readonly #received = new Uint8Array(RECEIVE_BYTES);
  readonly #receivedAt = addressOf(this.#received);
  readonly #kernel = kernelAddress();
  readonly #kernelAt = addressOf(this.#kernel);
  #sequence = 0;

  close(): void {
    close(this.#descriptor);
  }

  links(): Link[] {
    return this.#dump(dumpLinks(), "list interfaces", decodeLink);
  }

  setLink(device: number, settings: LinkSettings): void {
    this.#expect(this.#request(setLink(device, settings)), "set up the interface");
  }

  /** @returns false when there was none. */
  deleteLink(device: number): boolean {
    return this.#delete(deleteLink(device), "delete the interface");
  }

  addresses(): InterfaceAddress[] {
    return this.#dump(dumpAddresses(), "list addresses", decodeAddress);
  }

  /** Of all tables. */
  routes(family: Family): Route[] {
    return this.#dump(dumpRoutes(family), "list routes", (body) =>
      isCachedRoute(body) ? undefined : decodeRoute(body),
    );
  }

  /** The way a packet of this host would go. @returns undefined when there is none. */
  routeTo(family: Family, destination: string): Route | undefined {
    const messages: NetlinkMessage[] = [];
    const errno = this.#request(askRoute(family, destination), messages);
    if ([ENETUNREACH, EHOSTUNREACH, ESRCH, ENODEV, EAFNOSUPPORT].includes(errno)) return undefined;
    this.#expect(errno, `find the route to ${destination}`);
    return messages[0] === undefined ? undefined : decodeRoute(messages[0].body);
  }

  /** The way a packet would go that came in at an interface. @returns undefined when there is none */
  forwardingRoute(
    family: Family,
    destination: string,
    source: string,
    inputDevice: number,
  ): Route | undefined {
    const messages: NetlinkMessage[] = [];
    const errno = this.#request(askForwarding(family, destination, source, inputDevice), messages);
    return errno !== 0 || messages[0] === undefined ? undefined : decodeRoute(messages[0].body);
  }

  /** Those of the kinds `Rule` can describe. */
  rules(family: Family): Rule[] {
    return this.#dump(dumpRules(family), "list policy rules", decodeRule);
  }

  proxies(family: Family): ProxyNeighbour[] {
    return this.#dump(dumpProxies(family), "list proxy neighbours", decodeProxy);
  }

  /** @throws SystemCallError with code EEXIST when there is one to the same destination. */
  addRoute(route: DeviceRoute): void {
    this.#expect(
      this.#request(addRoute(route)),
      `add the route to ${route.destination}/${route.prefixLength}`,
    );
  }

  /** @returns false when there was none. */
  deleteRoute(route: DeviceRoute): boolean {
    return this.#delete(deleteRoute(route), `delete the route to ${route.destination}/${route.prefixLength}`);
  }

  /** @throws SystemCallError with code EEXIST when there is the same. */
  addRule(rule: Rule): void {
    this.#expect(this.#request(addRule(rule)), `add the policy rule ${rule.priority}`);
  }

  /** @returns false when there was none. */
  deleteRule(rule: Rule): boolean {
    return this.#delete(deleteRule(rule), `delete the policy rule ${rule.priority}`);
  }

  addProxy(proxy: ProxyNeighbour): void {
    this.#expect(this.#request(addProxy(proxy)), `answer for ${proxy.address}`);
  }

  /** @returns false when there was none. */
  deleteProxy(proxy: ProxyNeighbour): boolean {
    return this.#delete(deleteProxy(proxy), `stop answering for ${proxy.address}`);
  }

  #delete(writer: MessageWriter, purpose: string): boolean {
    const errno = this.#request(writer);
    if (errno === ENOENT || errno === ESRCH || errno === ENODEV) return false;
    this.#expect(errno, purpose);
    return true;
  }

  #dump<T>(writer: MessageWriter, purpose: string, decode: (body: DataView) => T | undefined): T[] {
    const messages: NetlinkMessage[] = [];
    const errno = this.#request(writer, messages);
    // A kernel without IPv6, or without policy rules, has none of them.
    if (errno === EAFNOSUPPORT || errno === EOPNOTSUPP) return [];
    this.#expect(errno, purpose);
    return messages.map(({ body }) => decode(body)).filter((item) => item !== undefined);
  }

  #expect(errno: number, purpose: string): void {
    if (errno !== 0) throw new SystemCallError(errno, "rtnetlink", purpose);
  }

  /**
   * Send a request and gather its answers until the kernel says that this was all: an acknowledgement, the end of a
   * dump, or a single answer to a question.
   * @returns the errno, positive, or 0.
   */
  #request(writer: MessageWriter, answers: NetlinkMessage[] = []): number {
    const sequence = ++this.#sequence;
    const message = writer.finish(sequence);
    const sent = sendto(
      this.#descriptor,
      addressOf(message),
      message.length,
      0,
      this.#kernelAt,
      SOCKADDR_NL_BYTES,
    );
    if (sent < 0) return -sent;
    for (;;) {
      const length = recv(this.#descriptor, this.#receivedAt, RECEIVE_BYTES, 0);
      if (length < 0) return -length;
      // A copy: the answers outlive the buffer.
      for (const answer of splitMessages(this.#received.slice(0, length))) {
        if (answer.sequence !== sequence) continue;
        if (answer.type === NLMSG_DONE) return 0;
        if (answer.type === NLMSG_ERROR) return -answer.body.getInt32(0, true);
        answers.push(answer);
        if (!answer.isMultipart) return 0;
      }
    }
  }
}

/** struct sockaddr_nl of the kernel itself: port 0, no groups. */
function kernelAddress(): Uint8Array {
  const bytes = new Uint8Array(128);
  new DataView(bytes.buffer).setUint16(0, AF_NETLINK, true);
  return bytes;
}

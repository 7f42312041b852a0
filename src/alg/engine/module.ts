/**
 * What an application module is: it finds addresses and ports in what the two hosts say, has them changed, and says which
 * connections follow. Everything else is the engine's: order and segments, numbers, lengths and checksums, public ports,
 * what is expected, and the guards (docs/applications.md).
 *
 * Two situations, one way to write a module. The server is behind a virtual address, or the client goes out through a
 * masquerade rule. Either way each side has an *own* endpoint and a *shown* one, which the other side knows it by. They
 * differ for the side that is *hidden*. What a host says of itself has to become what is shown of it; what it says of the
 * other side, to whom it knows by what is shown, has to become what that one's own is.
 */
import type { ApplicationName, ApplicationOptions } from "../../nat/configuration.ts";
import type { Unit } from "./unit.ts";

/** Who opened the connection, and who was reached. */
export type Side = "client" | "server";
export type Transport = "tcp" | "udp" | "sctp";

export const opposite = (side: Side): Side => (side === "client" ? "server" : "client");

export interface ApplicationModule {
  readonly name: ApplicationName;
  /** What its connections are of. */
  readonly transports: readonly Transport[];
  /** The protocol's ports, for connections that a masquerade rule's modules are for. */
  readonly ports: readonly number[] | "all";
  /** Announcements that may wait at a time, 0..64; another one takes the place of the oldest. */
  readonly expectationsMax: number;
  /** How a TCP stream is cut into units. Required with "tcp" unless the module reads nothing. */
  readonly stream?: StreamShape;
  /** A connection begins; what follows from that alone. */
  begin?(dialogue: Dialogue): void;
  /** The connection is gone. */
  end?(dialogue: Dialogue): void;
  /**
   * Read a whole unit, of either side, and change it. SCTP: a unit is the packet from its common header on.
   * May allocate, must be bounded by the unit's length, and should not throw: then the connection is passed on unread.
   */
  read(unit: Unit, from: Side, dialogue: Dialogue): void;
}

export interface StreamShape {
  /** Longer units are passed on unread. 16..UNIT_BYTES_MAX; a connection needs some twelve times as much memory. */
  readonly unitBytesMax: number;
  /**
   * What every unit ends with, if there is such a byte: behind a unit that is too long, or where the beginning of the stream
   * was not seen, it tells where the next one begins. Without it nothing more is read then.
   */
  readonly endByte?: number;
  /**
   * How long is the unit that begins like this?
   * @param unit - its beginning, at least one byte. Asked again with each further byte as long as the answer is 0, and never
   *   again once it is another.
   * @returns its bytes, which may be more than there are; 0: cannot be told yet; negative: so many bytes are no unit,
   *   and pass unread; UNREADABLE: everything from here on is
   */
  measure(unit: Unit, from: Side, dialogue: Dialogue): number;
  /**
   * May a unit with this beginning have to be changed? Then the beginning must wait for its end. Once false, it stays so.
   */
  mayChange(unit: Unit, from: Side, dialogue: Dialogue): boolean;
}

export const UNIT_BYTES_MAX = 16_384;

/** Of StreamShape.measure: nothing is read any more. */
export const UNREADABLE = -Infinity;

/** A connection, as its module sees it. */
export interface Dialogue {
  /** The module's own memory, 0 at the beginning. */
  memory: number;
  /** And more of it: DIALOGUE_WORDS words. */
  readonly words: Int32Array;
  readonly options: ApplicationOptions;
  readonly family: 4 | 6;
  readonly transport: Transport;
  /** Does the other side know this one by another address, or another port? */
  isHidden(side: Side): boolean;
  /** Textual, IPv6 without brackets. */
  ownAddress(side: Side): string;
  shownAddress(side: Side): string;
  ownPort(side: Side): number;
  shownPort(side: Side): number;
  /** First word of the address, as signed as all words are: all of an IPv4 one. */
  ownWord(side: Side): number;
  shownWord(side: Side): number;
  /**
   * This side says that it listens; the other one, or anyone, may connect to it.
   * What was announced before and is not over keeps its port, and its time begins anew.
   * @returns the port where that one finds it, to be written in place of the announced one; 0: refused, or the other side
   *   reaches it without our help: leave what was said as it is. gre, whose IDs may be 0: the ID by which the other side
   *   knows the call, or -1
   */
  listens(side: Side, announcement: Announcement): number;
  /** What it announced on this port is over, the other half of a pair too, and datagrams that came by it. */
  withdraw(side: Side, protocol: AnnouncedProtocol, ownPort: number): void;
  /** The own port of what this side announced and is shown on this port; 0, gre: -1: it announced none. */
  ownPortOf(side: Side, protocol: AnnouncedProtocol, shownPort: number): number;
  /** Likewise the port it is shown on. */
  shownPortOf(side: Side, protocol: AnnouncedProtocol, ownPort: number): number;
  /**
   * The virtual port of the TCP connection between this connection's server and client that has these ports at the server
   * and there towards the client; 0: there is none.
   */
  virtualPortBetween(serverPort: number, clientPort: number): number;
  /**
   * SCTP: the side that is not hidden has this address too; packets from it and to it belong to this association. The path has a
   * dialogue of its own, which begins with this one's memory and words as they are now; so does one that is known.
   * @param address - four words, of the association's family
   */
  alsoAt(address: Int32Array): void;
  /** The association is over, and all its paths. */
  withdrawPaths(): void;
  /** SCTP: packets of any address, from the server's port to where it sees the client, belong to this association by this tag. */
  claimTag(tag: number): void;
  /** Is this a path that alsoAt made? */
  readonly isPath: boolean;
  /** SCTP: the packet that is being read is not passed on. */
  drop(): void;
  /** What follows is encrypted: pass it on unread. */
  stepAside(): void;
  /** Nothing follows that matters: pass it on unread, without counting it as encrypted. */
  passUnread(): void;
}

export const DIALOGUE_WORDS = 32;

/** gre: PPTP's enhanced GRE; a port is the call ID by which packets find who announced it. */
export type AnnouncedProtocol = "tcp" | "udp" | "gre";

export interface Announcement {
  readonly protocol: AnnouncedProtocol;
  /** 1..65535; below 1024 it is refused, unless `isLowAllowed`. gre: 0..65535 */
  readonly port: number;
  /** gre: the other side's own ID of the call that this one answers. Default: this side is the first to say its ID. */
  readonly answers?: number;
  /** Last own port of a range that begins at `port`: each is shown on the same number, or where `opener` says. */
  readonly lastPort?: number;
  /** Public port to try first. Default: `port`. */
  readonly preferredPort?: number;
  /** As it was said: must be the side's own or shown address, or it is refused as foreign. Default: not said. */
  readonly address?: string;
  /** Two ports, `port` and the next, are shown on two neighbours that begin with an even one: RTP and RTCP. */
  readonly isPair?: boolean;
  /** Who may connect. Default: the other side's address only. */
  readonly from?: "peer" | "anyone";
  /**
   * Any number of connections, as long as this one lives. Default: one, within the timeout `listen`, which keeps this one
   * alive.
   */
  readonly isLasting?: boolean;
  /**
   * Life, 1..86400. Default: the timeout `listen`; of a lasting one: as long as this connection's entry, which connections
   * that have begun keep alive. A lasting one with a life of its own keeps this connection's entry alive, and connections
   * may begin although this one has been closed.
   */
  readonly seconds?: number;
  /**
   * A client listens that is not hidden: the port its server appears to connect from. "same": the server's own, or what was
   * announced for it; default, and always of lasting ones.
   */
  readonly appearsFrom?: number | "same";
  /** A server listens: it may be another server of the service, `address` says which. */
  readonly isFellowAllowed?: boolean;
  readonly isLowAllowed?: boolean;
  /**
   * Module for the connection; TCP and UDP, one port. Default: none. With it, the announcement of a side that is not hidden
   * is kept too, for the module's sake.
   */
  readonly module?: ApplicationName;
}

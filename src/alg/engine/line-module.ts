/** What a module of a protocol made of text lines says: which lines matter, and what follows from them. */
import type { ApplicationName } from "../../nat/configuration.ts";

export interface LineModule {
  readonly name: ApplicationName;
  /** TCP ports of the protocol, for connections that a masquerade rule's modules are for. */
  readonly ports: readonly number[];
  /** Connections that may be announced and not yet begun; another one takes the place of the oldest. */
  readonly expectationsMax: number;
  readonly rules: readonly LineRule[];
}

export interface LineRule {
  readonly from: "client" | "server";
  /** How the line begins, in capitals; it may come in small letters too. */
  readonly lead: string;
  /** Its addresses may have to change, so that its beginning must not be passed on before its end. */
  readonly hasAddress?: boolean;
  /**
   * @param line - with its end, a character a byte
   * @returns the line that goes on in its place; undefined: it stays
   */
  read(line: string, dialogue: Dialogue): string | undefined;
}

/** A connection, as its module sees it. */
export interface Dialogue {
  /** The module's own memory, 0 at the beginning. */
  memory: number;
  readonly family: 4 | 6;
  /** The address under which the client knows the server, and the one under which the server knows the client. */
  readonly virtualAddress: string;
  readonly clientAddress: string;
  /**
   * The server says that it listens at this address and port.
   * @returns the port of `virtualAddress` where the client finds it; 0: nothing is to be changed
   */
  serverListens(address: string, port: number): number;
  /** Likewise the client. @returns the port of `clientAddress` where the server finds it; 0: nothing is to be changed */
  clientListens(address: string, port: number): number;
  /** What follows is encrypted: pass it on unread. */
  stepAside(): void;
}

/** A user's own application module: what it is given and has to give. docs/modules.md tells it to people. */

export type ModuleSide = "client" | "server";

/** A connection. Good until the function that was given it returns. */
export interface ModuleDialogue {
  readonly transport: "tcp" | "udp";
  readonly family: 4 | 6;
  /** The module's own memory of this connection: a whole number of 32 bits, 0 at the beginning. */
  memory: number;
  /** Does the other side know this one by another address or port? */
  isHidden(side: ModuleSide): boolean;
  /** IPv6 without brackets. */
  ownAddress(side: ModuleSide): string;
  /** By which the other side knows it. */
  shownAddress(side: ModuleSide): string;
  ownPort(side: ModuleSide): number;
  shownPort(side: ModuleSide): number;
  /**
   * This side says that it listens, and the other one may connect to it.
   * @returns the port where that one finds it; 0: refused, or nothing is to be changed
   */
  listens(side: ModuleSide, announcement: ModuleAnnouncement): number;
  /** What follows is encrypted: read nothing any more. */
  stepAside(): void;
  /** Nothing of interest follows: read nothing any more. */
  passUnread(): void;
}

export interface ModuleAnnouncement {
  readonly protocol: "tcp" | "udp";
  /** 1024..65535 */
  readonly port: number;
  /** Last of a range. */
  readonly lastPort?: number;
  /** As it was said; refused unless it is the side's own. Default: not said. */
  readonly address?: string;
  /** The public port to try first. */
  readonly preferredPort?: number;
  /** `port` and the next, on two neighbours that begin with an even one. */
  readonly isPair?: boolean;
  /** Default: the other side of this connection. */
  readonly from?: "peer" | "anyone";
  /** Any number of connections, as long as this one lives, or for so many seconds. Default: one. */
  readonly isLasting?: boolean;
  readonly seconds?: number;
}

/** A kind of line, of a TCP connection. */
export interface ModuleLineRule {
  readonly from: ModuleSide;
  /** How it begins, in capitals; it may come in small letters too. */
  readonly lead: string;
  /** Whose addresses stand in it: the speaker's or the other side's. Needed to change it. */
  readonly names?: "own" | "other";
  /** @param line - with its end, a character a byte @returns the line in its place, or nothing: it stays */
  read(line: string, dialogue: ModuleDialogue): string | undefined;
}

/** What the module exports, at least one of them. */
export interface ApplicationModuleExports {
  /** A connection begins. */
  begin?(dialogue: ModuleDialogue): void;
  /** The first that fits a line is asked. */
  readonly rules?: readonly ModuleLineRule[];
  /** @returns the datagram in its place, or nothing: it stays */
  datagram?(bytes: Uint8Array, from: ModuleSide, dialogue: ModuleDialogue): Uint8Array | undefined;
}

/** A module on its way to the datapath thread. */
export interface ApplicationPluginCode {
  readonly name: string;
  readonly transports: readonly ("tcp" | "udp")[];
  readonly ports: { readonly first: number; readonly last: number };
  readonly file: string;
  /** JavaScript. */
  readonly code: string;
}

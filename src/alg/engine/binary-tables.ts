/**
 * How a protocol whose fields stand at fixed places is written down: what a message is known by, where addresses and ports
 * stand in it, and what follows from them. binary-module.ts makes a module of it.
 *
 * Big-endian unless it says otherwise; offsets count from the message's first byte. Left out: fields of bits, fields whose place
 * another field says.
 */
import type { AnnouncedProtocol, Announcement, ApplicationModule, Dialogue, Side } from "./module.ts";
import type { Unit } from "./unit.ts";

export interface BinaryModule
  extends Pick<ApplicationModule, "name" | "transports" | "ports" | "expectationsMax" | "begin"> {
  /** Required with "tcp". */
  readonly stream?: BinaryStream;
  /** The first one of a side that fits is it. */
  readonly messages: readonly Message[];
}

export interface BinaryStream {
  readonly unitBytesMax: number;
  /** Absent: what this side says does not matter. */
  readonly client?: Framing;
  readonly server?: Framing;
}

export type Framing =
  /** Nothing but units that begin like this and say how long they are. */
  | { readonly by: "length"; readonly lead: readonly Match[]; readonly length: LengthPlace }
  /** One message at the very beginning, and nothing of interest behind it. */
  | { readonly by: "beginning" }
  /**
   * A message at the very beginning, and behind it others at any byte, until there were so many, or so many bytes were none.
   * What does not begin with one is another protocol, whatever is in it: a web page can have a browser send that.
   */
  | {
      readonly by: "search";
      readonly messagesMax: number;
      readonly bytesMax: number;
      /**
       * Behind bytes that are none, fewer than this do not wait for more, although a message might begin like this: almost
       * anything would wait, and its sender might say no more before it is answered.
       */
      readonly beginningBytes: number;
    };

export interface NumberPlace {
  readonly at: number;
  readonly bytes: 1 | 2 | 4;
  readonly order?: "little";
}

export interface LengthPlace extends NumberPlace {
  /** What the number leaves out. Default: 0. */
  readonly plus?: number;
}

export type Match =
  /** A number, of which only the bits of the mask count. Default: all. */
  | (NumberPlace & { readonly is: number; readonly mask?: number })
  | (NumberPlace & { readonly atMost: number })
  /** It is the message's own length; of a mask's bits. */
  | (NumberPlace & { readonly isLength: true; readonly mask?: number })
  /** Capitals stand for both. */
  | { readonly at: number; readonly text: string };

export interface Message {
  readonly from: Side | "either";
  readonly match: readonly Match[];
  /** Bits of the dialogue's memory: that must be set, and that it sets. */
  readonly needs?: number;
  readonly notes?: number;
  /** In a stream framed by its messages: how long it is. With `items`: as far as they go. */
  readonly bytes?: number;
  readonly items?: Items;
  readonly list?: List;
  readonly fields?: readonly Field[];
  /** Where its length stands, which is repaired when it changes. */
  readonly lengthAt?: NumberPlace;
  /** What no table says; comes last. */
  follow?(unit: Unit, dialogue: Dialogue): void;
}

/** A run of items: id, length, data. */
export interface Items {
  readonly at: number;
  readonly idBytes: 1 | 2;
  readonly lengthBytes: 1 | 2;
  /** Id of the last one, which has neither length nor data. */
  readonly endId: number;
  /** By id; offsets count from the data. */
  readonly fields: Readonly<Record<number, readonly Field[]>>;
}

/** Records of the same shape, one behind the other. */
export interface List {
  readonly count: NumberPlace;
  readonly at: number;
  /** Of a record, up to its texts. */
  readonly bytes: number;
  /** Texts with a NUL each at the record's end. Default: none. */
  readonly texts?: number;
  /** Offsets count from the record. */
  readonly fields: readonly Field[];
}

export type Field =
  | {
      readonly is: "address";
      readonly at: number;
      /** Who is meant: whoever says it, whoever it is said to, or either of them. Somebody else's address stays. */
      readonly of: "sender" | "receiver" | "either";
      /** The port that belongs to it, 16 bits: of this connection, or of what was announced over a protocol. */
      readonly portAt?: number;
      readonly portOf?: AnnouncedProtocol;
    }
  | (NumberPlace & {
      readonly is: "port";
      /** Whose it is, where something is going to come to. 0 is no port. */
      readonly listener: Side;
      readonly protocol: AnnouncedProtocol;
      readonly announcement?: Omit<Announcement, "protocol" | "port">;
      /** Bits to set in the dialogue's memory. */
      readonly notes?: number;
    })
  /** The sender's address and port as text with a NUL behind it, whatever stands there. */
  | { readonly is: "endpoint"; readonly at: number };

/** What the director asks of the application modules, and what it lends them. */
import type { Flow } from "../../wire/flow.ts";
import type { Packet } from "../../wire/packet.ts";
import type { AssociationPaths } from "../association-paths.ts";
import type { ApplicationName, ApplicationOptions } from "../configuration.ts";
import type { ConnectionTable } from "../connection-table.ts";
import type { DialogueMark, DialogueMarks } from "../dialogue-marks.ts";
import type { Expectations } from "../expectations.ts";
import type { TunnelCalls } from "../tunnel-calls.ts";

export interface Applications {
  /** A connection was made for which this module is to work, if it is of a transport that the module knows. */
  begin(record: number, name: ApplicationName, options: ApplicationOptions | undefined): void;
  /**
   * A packet of such a connection, before its addresses are rewritten: read it, change its payload, renumber it.
   * Runs on the packet path and never throws. `packet.at` and the flow's offsets stay what they are.
   * @returns false when it must be dropped; it is then as good as lost, and its sender repeats it
   */
  toServer(packet: Packet, flow: Flow, record: number): boolean;
  toClient(packet: Packet, flow: Flow, record: number): boolean;
  /**
   * Go on with a connection of the process before, from where its module had read to.
   * @returns false when there is no such module; nothing happened then
   */
  resume(record: number, mark: DialogueMark, options: ApplicationOptions | undefined): boolean;
  /** The connection is gone. */
  end(record: number): void;
  /** The time of a connection is up on which others hang: what was announced for as long as it lives is over. */
  expiring(record: number): void;
  /** A connection that was announced on `control` has begun. @param application - number of the module it is to have, or 0 */
  announcedBegan(record: number, control: number, application: number): void;
  /** The module that a masquerade rule's modules have for this protocol and destination port, or undefined. */
  ofPort(names: readonly ApplicationName[], protocol: number, port: number): ApplicationName | undefined;
  /** Told of units that were changed; set only while somebody looks. */
  onRewrite: ((before: string, after: string) => void) | undefined;
  usage(): readonly ApplicationUsage[];
}

/** One module at work. */
export interface ApplicationUsage {
  readonly name: ApplicationName;
  /** Live connections with the module, by protocol and virtual port; ports without any are absent. */
  readonly ports: readonly ApplicationPort[];
  readonly counters: ApplicationCounters;
}

export interface ApplicationPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
  readonly connections: number;
}

export interface ApplicationCounters {
  /** Lines, messages, datagrams that were changed. */
  readonly rewritten: number;
  /** Connections announced, and those of them that came. */
  readonly announced: number;
  readonly begun: number;
  /** Announcements refused: of another host's address; of a port below 1024; for lack of a free port or entry. */
  readonly foreign: number;
  readonly lowPort: number;
  readonly noPlace: number;
  /** Left as they came, although they had to be changed, because they would become too long or too much would change. */
  readonly noRoom: number;
  /** Segments and datagrams dropped because their checksum is wrong, they come before their turn, or too much waits to be acknowledged. */
  readonly badChecksum: number;
  readonly outOfOrder: number;
  readonly unacknowledged: number;
  /** Connections that turned to TLS, and are passed on unread since. */
  readonly encrypted: number;
  /** Connections without the module's help, because too many have it. */
  readonly unattended: number;
  /** Mistakes of a module's own; the connection is passed on unread since. */
  readonly failed: number;
}

export interface ApplicationHost {
  readonly connections: ConnectionTable;
  readonly expectations: Expectations;
  readonly tunnelCalls: TunnelCalls;
  readonly paths: AssociationPaths;
  /** Where to note how far everything was read; undefined: nobody will ask. */
  readonly marks: DialogueMarks | undefined;
}

/** Makes a director's application modules. */
export type ApplicationsFactory = (host: ApplicationHost) => Applications;

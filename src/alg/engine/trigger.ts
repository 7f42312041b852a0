/**
 * Modules of protocols of which nothing is known but ports: a connection to the control port makes way for others. One rule
 * says who opens them, over what, where to, and for how long. Nothing is read, and nothing changed.
 */
import type { ApplicationName, PortRange } from "../../nat/configuration.ts";
import type { Announcement, ApplicationModule, Dialogue, Side } from "./module.ts";
import { opposite } from "./module.ts";

/** Rules of a trigger. */
export const OPENINGS_MAX = 8;

export interface Trigger {
  readonly name: ApplicationName;
  /** The control connection's, and its ports, for masquerade rules. */
  readonly transports: readonly ("tcp" | "udp")[];
  readonly ports: PortRange;
  readonly opens: readonly Opening[];
}

export interface Opening {
  /** Who opens the connections. The other one listens. */
  readonly by: Side;
  readonly transport: "tcp" | "udp";
  /** Ports of whoever listens; "same": the one that it has on the control connection. */
  readonly ports: PortRange | "same";
  /** Anyone may, not only the peer. */
  readonly isFromAnyone?: boolean;
  /** Life; default: as long as the control connection. 1..86400 */
  readonly seconds?: number;
}

export function triggerModule({ name, transports, ports, opens }: Trigger): ApplicationModule {
  return {
    name,
    transports,
    ports: Array.from({ length: ports.last - ports.first + 1 }, (_, i) => ports.first + i),
    expectationsMax: OPENINGS_MAX,
    begin(dialogue) {
      for (const opening of opens) {
        const listener = opposite(opening.by);
        dialogue.listens(listener, announcementOf(opening, listener, dialogue));
      }
      dialogue.passUnread();
    },
    read() {},
  };
}

function announcementOf(
  { transport, ports, isFromAnyone, seconds }: Opening,
  listener: Side,
  dialogue: Dialogue,
): Announcement {
  return {
    protocol: transport,
    ...(ports === "same"
      ? { port: dialogue.ownPort(listener), preferredPort: dialogue.shownPort(listener) }
      : { port: ports.first, ...(ports.last > ports.first && { lastPort: ports.last }) }),
    from: isFromAnyone ? "anyone" : "peer",
    isLasting: true,
    ...(seconds !== undefined && { seconds }),
  };
}

/**
 * Triggers for protocols of the founding list of which only ports are known, and for those of which not even they are: these
 * have a name, and what is unknown about them, and begin to work once the operator says the rest.
 *
 * What could be confirmed, and what could not be found: docs/applications.md.
 */
import { type Opening, type Trigger, triggerModule } from "./engine/trigger.ts";

/** Ports that no service has by convention. */
const DYNAMIC = { first: 1024, last: 65_535 };
const port = (number: number) => ({ first: number, last: number });
const fromServer = (ports: Opening["ports"]): Opening => ({ by: "server", transport: "udp", ports });
const fromClient = (ports: Opening["ports"]): Opening => ({ by: "client", transport: "udp", ports });

/** What is served by its ports alone. The others have modules that read more; these are for peers that differ from them. */
export const TRIGGERS: readonly Trigger[] = [
  { name: "streamworks", transports: ["tcp", "udp"], ports: port(1558), opens: [fromServer("same"), fromServer(DYNAMIC)] },
  { name: "realaudio-ports", transports: ["tcp"], ports: port(7070), opens: [fromServer({ first: 6970, last: 7170 })] },
  { name: "vdolive-ports", transports: ["tcp"], ports: { first: 7000, last: 7010 }, opens: [fromServer(DYNAMIC)] },
  { name: "cuseeme-ports", transports: ["udp"], ports: port(7648), opens: [fromServer({ first: 7648, last: 7649 })] },
  {
    name: "diablo-ports",
    transports: ["tcp"],
    ports: port(6112),
    opens: [{ ...fromServer(port(6112)), isFromAnyone: true }],
  },
  // As far as is known these files come by HTTP, and nothing follows.
  { name: "vivoactive", transports: ["tcp"], ports: port(80), opens: [] },
]; // biome-ignore format: a list to read

export const TRIGGER_MODULES = TRIGGERS.map(triggerModule);

/** A protocol that has a name here and that nobody could describe. */
export interface UnknownProtocol {
  /** What it was. */
  readonly what: string;
  /** What could not be found out. */
  readonly unknown: string;
  /** What its successors and likes did, for whoever knows the control port. Default: the operator has to say. */
  readonly opens?: readonly Opening[];
}

export const UNKNOWN_PROTOCOLS: Readonly<Record<string, UnknownProtocol>> = {
  vxtreme: {
    what: "VXtreme Web Theater",
    unknown: "its control port (12468 circulates, unconfirmed)",
    opens: [fromServer(DYNAMIC), fromClient("same")],
  },
  vosaic: {
    what: "Vosaic's video protocol VDP",
    unknown: "its control port",
    opens: [fromServer(DYNAMIC), fromClient(DYNAMIC)],
  },
  truespeech: {
    what: "DSP Group's TrueSpeech",
    unknown: "whether it needs anything but HTTP, and its control port",
    opens: [fromServer(DYNAMIC)],
  },
  audiolink: { what: "NTT AudioLink", unknown: "its control port and what follows on it" },
  softwarevision: { what: "NTT SoftwareVision", unknown: "its control port and what follows on it" },
  midplug: {
    what: "Yamaha MIDPlug",
    unknown: "whether it needs anything but HTTP, its control port and what follows on it",
  },
  "ichat-pager": { what: "ichat's Pager", unknown: "its control port and what follows on it" },
};

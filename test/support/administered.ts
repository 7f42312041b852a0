/** A director under a daemon's rules for edits, without the daemon: what vsadm asks is answered by the real pieces. */

import { DaemonRefusal } from "../../src/cli/control-client.ts";
import type { SyncDaemonStatus } from "../../src/cli/vsadm/listing.ts";
import { type Names, PortNames } from "../../src/cli/vsadm/names.ts";
import { type Ask, runVsadm } from "../../src/cli/vsadm/run-vsadm.ts";
import type { DirectorStatus } from "../../src/control/director-status.ts";
import type { Edit, EditFailure } from "../../src/control/edit.ts";
import { edit } from "../../src/control/layer-edit.ts";
import { type Layers, makeLayers } from "../../src/control/layers.ts";
import type { DirectorConfig, ServiceKey } from "../../src/nat/configuration.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";
import { IPVS_SETTINGS } from "./replayed.ts";
import { Stage } from "./stage.ts";

const MADE_AT = new Date("2026-01-01T00:00:00Z");

/** No host has a name. */
const PORT_NAMES = new PortNames("http 80/tcp www\ndomain 53/tcp\ndomain 53/udp\n");
export const NAMES: Names = {
  addressOf: async (host) => (host === "localhost" ? "127.0.0.1" : undefined),
  hostOf: async () => undefined,
  portOf: (service, protocol) => PORT_NAMES.portOf(service, protocol),
  serviceOf: (port, protocol) => PORT_NAMES.serviceOf(port, protocol),
};

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Administered {
  readonly stage = new Stage([]);
  #layers: Layers;
  /** Stand-ins: synchronisation has tests of its own. */
  #daemons: SyncDaemonStatus[] = [];

  constructor(rest: Partial<DirectorConfig> = {}) {
    const file = { services: [], marks: [], masquerade: [], settings: IPVS_SETTINGS, ...rest };
    this.#layers = makeLayers(file, Object.keys(SCHEDULERS));
    this.stage.control.apply(file);
  }

  get status(): DirectorStatus {
    return this.stage.control.status();
  }

  /** Run vsadm. @param line - arguments, split at blanks; or as a list */
  async vsadm(line: string | readonly string[], input = ""): Promise<Finished> {
    const written = { stdout: "", stderr: "" };
    const io = {
      names: NAMES,
      input: async () => input,
      print: (text: string) => void (written.stdout += text),
      complain: (text: string) => void (written.stderr += text),
    };
    const args = typeof line === "string" ? line.split(" ").filter((word) => word !== "") : line;
    return { status: await runVsadm(args, io, this.ask), ...written };
  }

  /** As the client of the control socket. */
  readonly ask: Ask = async <T>(method: string, path: string, body?: unknown): Promise<T> =>
    this.#answer(method, new URL(path, "http://vsnat"), body) as T;

  #answer(method: string, { pathname }: URL, body: unknown): unknown {
    switch (`${method} ${pathname}`) {
      case "POST /v1/edits":
        return { outcomes: (body as { edits: Edit[] }).edits.map((one) => this.#edit(one)) };
      case "POST /v1/zero": {
        const key = (body as { service: ServiceKey } | undefined)?.service;
        if (!this.stage.control.zero(key)) throw new DaemonRefusal("ESRCH", "there is no such service");
        return undefined;
      }
      case "GET /v1/status":
        return this.status;
      case "GET /v1/settings":
        return { director: this.#layers.effective.settings };
      case "GET /v1/connections":
        return { connections: this.stage.connections(), count: this.status.connections.count };
      case "GET /v1/sync-daemons":
        return { daemons: this.#daemons };
      case "POST /v1/sync-daemons":
        return this.#startDaemon(body as Partial<SyncDaemonStatus>);
      case "DELETE /v1/sync-daemons/master":
      case "DELETE /v1/sync-daemons/backup":
        return this.#stopDaemon(pathname.split("/").at(-1)!);
      default:
        throw new Error(`nobody answers ${method} ${pathname}`);
    }
  }

  #edit(one: Edit): EditFailure | null {
    const result = edit(this.#layers, one, MADE_AT);
    if ("code" in result) return result;
    this.#layers = result;
    this.stage.control.apply(result.effective);
    return null;
  }

  #startDaemon(wanted: Partial<SyncDaemonStatus>): void {
    if (wanted.interface === "nosuch") throw new DaemonRefusal("ENODEV", "there is no such interface");
    if (this.#daemons.some(({ role }) => role === wanted.role))
      throw new DaemonRefusal("EEXIST", "one runs already");
    const defaults = { interface: "", syncId: 0, group: "224.0.0.81", port: 8848, ttl: 1, maxLength: 1472 };
    this.#daemons.push({ role: "master", ...defaults, ...wanted });
  }

  #stopDaemon(role: string): void {
    const left = this.#daemons.filter((one) => one.role !== role);
    if (left.length === this.#daemons.length) throw new DaemonRefusal("ESRCH", "none runs");
    this.#daemons = left;
  }
}

/** vsadm without its process: what it prints, asks the daemon and ends with, as a function. */
import { CONNECTIONS_LIMIT_MAX, type Connections } from "../../api/connections.ts";
import type { Settings, Status } from "../../api/operations.ts";
import type { ServiceStatus } from "../../control/director-status.ts";
import type { Edit, EditFailure } from "../../control/edit.ts";
import type { ServiceKey } from "../../nat/configuration.ts";
import { type ask as askDaemon, DaemonRefusal } from "../control-client.ts";
import { type Command, parseCommandLine } from "./command-line.ts";
import { type ChangeName, editMessage } from "./edit-messages.ts";
import { endpointsOfConnections, endpointsOfServices, namedLabel, numericLabel } from "./labels.ts";
import {
  banner,
  type ListFormat,
  listConnections,
  listDaemons,
  listServices,
  type SyncDaemonStatus,
} from "./listing.ts";
import type { Names } from "./names.ts";
import type { ListSubject } from "./option-reader.ts";
import { Refusal, tryHelp } from "./refusal.ts";
import { savedRules } from "./saved-rules.ts";
import { HELP, VERSION_LINE } from "./usage.ts";

export type Ask = typeof askDaemon;

export interface VsadmIo {
  readonly names: Names;
  /** All of standard input. */
  input(): Promise<string>;
  /** To standard output; lines end with "\n". */
  print(text: string): void;
  /** To standard error. */
  complain(text: string): void;
}

/** So many edits go to the daemon at once: all that POST /v1/edits takes. */
const EDITS_PER_REQUEST_MAX = 10_000;
const KERNEL_REFUSES = 255;

/** @returns the exit status. @throws CommandFailure when the daemon cannot be asked */
export async function runVsadm(args: readonly string[], io: VsadmIo, ask: Ask): Promise<number> {
  const vsadm = new Vsadm(io, ask);
  try {
    if (args.length === 0) return await vsadm.run({ kind: "list", what: { kind: "services" }, format: BARE });
    return await vsadm.run(await parseCommandLine(args, io.names));
  } catch (error) {
    return vsadm.complain(error);
  }
}

/** What a bare `vsadm` lists. */
const BARE: ListFormat = {
  variant: "plain",
  isNumeric: false,
  isExact: false,
  isUnsorted: false,
  isJson: false,
};

class Vsadm {
  readonly #io: VsadmIo;
  readonly #ask: Ask;

  constructor(io: VsadmIo, ask: Ask) {
    this.#io = io;
    this.#ask = ask;
  }

  /** @returns the exit status. @throws Refusal, CommandFailure */
  async run(command: Command): Promise<number> {
    switch (command.kind) {
      case "help":
        this.#io.print(HELP);
        return 0;
      case "version":
        this.#io.print(VERSION_LINE);
        return 0;
      case "edit":
        return await this.#edit([command.edit]);
      case "zero":
        await this.#change("zero", "POST", "/v1/zero", command.service && { service: command.service });
        return 0;
      case "start-daemon":
        await this.#change(command.kind, "POST", "/v1/sync-daemons", command.daemon);
        return 0;
      case "stop-daemon": {
        const query = command.syncId === undefined ? "" : `?syncId=${command.syncId}`;
        await this.#change(command.kind, "DELETE", `/v1/sync-daemons/${command.role}${query}`);
        return 0;
      }
      case "restore":
        return await this.#restore(await this.#io.input());
      case "save": {
        const { services } = await this.#ask<Status>("GET", "/v1/status");
        this.#printLines(savedRules(services, await this.#label(services, command.isNumeric)));
        return 0;
      }
      case "list":
        await this.#list(command.what, command.format);
        return 0;
    }
  }

  /** @returns the exit status that belongs to it. @throws what is no refusal */
  complain(error: unknown): number {
    if (!(error instanceof Refusal)) throw error;
    this.#io.complain(`${error.message}\n`);
    return error.exitCode;
  }

  /**
   * Each line is a command line of its own; edits that follow each other go to the daemon together. As ipvsadm: what is
   * wrong with a command line ends it, what the director refuses does not, and the last line says the exit status.
   */
  async #restore(text: string): Promise<number> {
    const edits: Edit[] = [];
    let status = 0;
    const flush = async (): Promise<void> => {
      if (edits.length > 0) status = await this.#edit(edits.splice(0));
    };
    for (const line of text.split("\n")) {
      const words = line.split(/\s+/).filter((word) => word !== "");
      if (words[0] === "ipvsadm" || words[0] === "vsadm") words.shift();
      if (words.length === 0) continue;
      try {
        const command = await parseCommandLine(words, this.#io.names);
        if (command.kind === "edit") {
          edits.push(command.edit);
          continue;
        }
        await flush();
        if (command.kind === "restore") throw tryHelp();
        status = await this.run(command);
        if (command.kind === "help" || command.kind === "version") return status;
      } catch (error) {
        await flush();
        status = this.complain(error);
        if ((error as Refusal).endsRestore) return status;
      }
    }
    await flush();
    return status;
  }

  /** @returns the exit status of the last edit */
  async #edit(edits: readonly Edit[]): Promise<number> {
    let status = 0;
    for (let from = 0; from < edits.length; from += EDITS_PER_REQUEST_MAX) {
      const some = edits.slice(from, from + EDITS_PER_REQUEST_MAX);
      const { outcomes } = await this.#ask<{ readonly outcomes: readonly (EditFailure | null)[] }>(
        "POST",
        "/v1/edits",
        { edits: some },
      );
      outcomes.forEach((failure, index) => {
        status = failure === null ? 0 : KERNEL_REFUSES;
        if (failure !== null) this.#io.complain(`${editMessage(some[index]!.kind, failure)}\n`);
      });
    }
    return status;
  }

  async #change(name: ChangeName, method: "POST" | "DELETE", path: string, body?: unknown): Promise<void> {
    try {
      await this.#ask(method, path, body);
    } catch (error) {
      if (!(error instanceof DaemonRefusal)) throw error;
      throw new Refusal(editMessage(name, error), KERNEL_REFUSES, { endsRestore: false });
    }
  }

  async #list(what: ListSubject, format: ListFormat): Promise<void> {
    switch (what.kind) {
      case "connections":
        return await this.#listConnections(format);
      case "timeout":
        return await this.#listTimeouts(format);
      case "daemon": {
        const answer = await this.#ask<{ readonly daemons: readonly SyncDaemonStatus[] }>(
          "GET",
          "/v1/sync-daemons",
        );
        if (format.isJson) this.#printJson(answer);
        else this.#printLines(listDaemons(answer.daemons));
        return;
      }
      case "service":
      case "services": {
        const { services, connections } = await this.#ask<Status>("GET", "/v1/status");
        const selected = what.kind === "service" ? [findService(services, what.service)] : services;
        if (format.isJson) {
          this.#printJson({ services: selected });
          return;
        }
        const lines = listServices(selected, format, await this.#label(selected, format.isNumeric));
        this.#printLines([...(what.kind === "services" ? [banner(connections.max)] : []), ...lines]);
      }
    }
  }

  async #listConnections({ variant, isNumeric, isJson }: ListFormat): Promise<void> {
    const answer = await this.#ask<Connections>("GET", `/v1/connections?limit=${CONNECTIONS_LIMIT_MAX}`);
    if (isJson) {
      this.#printJson(answer);
      return;
    }
    const { connections, count } = answer;
    const label = isNumeric
      ? numericLabel
      : await namedLabel(endpointsOfConnections(connections), this.#io.names);
    this.#printLines(listConnections(connections, variant === "persistent-conn", label));
    if (count > connections.length)
      this.#io.complain(`${count - connections.length} more connections are not listed\n`);
  }

  async #listTimeouts({ isJson }: ListFormat): Promise<void> {
    const { timeouts } = (await this.#ask<Settings>("GET", "/v1/settings")).director;
    const { established: tcp, finWait: tcpFin } = timeouts.tcp;
    if (isJson) this.#printJson({ timeouts: { tcp, tcpFin, udp: timeouts.udp } });
    else this.#printLines([`Timeout (tcp tcpfin udp): ${tcp} ${tcpFin} ${timeouts.udp}`]);
  }

  async #label(services: readonly ServiceStatus[], isNumeric: boolean) {
    return isNumeric ? numericLabel : await namedLabel(endpointsOfServices(services), this.#io.names);
  }

  #printLines(lines: readonly string[]): void {
    this.#io.print(lines.map((line) => `${line}\n`).join(""));
  }

  #printJson(value: unknown): void {
    this.#io.print(`${JSON.stringify(value, undefined, 2)}\n`);
  }
}

/** @throws Refusal */
function findService(services: readonly ServiceStatus[], key: ServiceKey): ServiceStatus {
  const found = services.find(
    ({ protocol, address, port, mark }) =>
      protocol === key.protocol && address === key.address && port === key.port && mark === key.mark,
  );
  if (found === undefined) throw new Refusal("No such service", 1);
  return found;
}

/**
 * One command line of ipvsadm 1.31, understood: words in, a command or ipvsadm's own complaint out. Checks come in
 * ipvsadm's order, so that of two mistakes the same one is reported. Found out from the program's behaviour.
 *
 * Different on purpose: the forwarding method is -m when none is given (ipvsadm: -g), -g and -i are refused because
 * vsnat rewrites addresses and does nothing else; `--json`, and ranges of ports (`-t VIP:8000-8010`), are ours.
 */
import type { Edit } from "../../control/edit.ts";
import type { ServiceKey } from "../../nat/configuration.ts";
import { type GivenOption, readArguments } from "./arguments.ts";
import type { ListFormat } from "./listing.ts";
import type { Names } from "./names.ts";
import { type ListSubject, OptionReader, type SyncDaemonOptions, timeoutSeconds } from "./option-reader.ts";
import { COMMANDS, type CommandName, checkCombination } from "./options.ts";
import { Refusal, tryHelp } from "./refusal.ts";

export type DaemonRole = "master" | "backup";

/** POST /v1/sync-daemons */
export interface SyncDaemonStart extends SyncDaemonOptions {
  readonly role: DaemonRole;
  readonly interface: string;
}

export type Command =
  | { readonly kind: "help" | "version" | "restore" }
  | { readonly kind: "edit"; readonly edit: Edit }
  | { readonly kind: "zero"; readonly service: ServiceKey | undefined }
  | { readonly kind: "save"; readonly isNumeric: boolean }
  | { readonly kind: "list"; readonly what: ListSubject; readonly format: ListFormat }
  | { readonly kind: "start-daemon"; readonly daemon: SyncDaemonStart }
  | { readonly kind: "stop-daemon"; readonly role: DaemonRole; readonly syncId: number | undefined };

/** @throws Refusal */
export async function parseCommandLine(words: readonly string[], names: Names): Promise<Command> {
  const { options, rest, mistake } = readArguments(words);
  const [first, ...others] = options;
  if (first === undefined) throw tryHelp();
  if (first.name === "help" || first.name === "version") return { kind: first.name };
  if (!Object.hasOwn(COMMANDS, first.name)) throw tryHelp();
  const command = first.name as CommandName;
  const role = command === "start-daemon" || command === "stop-daemon" ? daemonRole(first) : "master";
  const reader = new OptionReader(names);
  for (const option of others) await reader.read(option);
  // A mistake of this kind does not end what is restored: the next line is another command.
  if (mistake !== undefined) throw new Refusal(mistake, 255, { endsRestore: false });
  const timeouts = command === "set" ? timeoutValues(rest) : undefined;
  const unexpected = rest[timeouts === undefined ? 0 : 3];
  if (unexpected !== undefined) throw new Refusal(`unexpected argument ${unexpected}`);
  const schedulerFlags = reader.schedulerFlags();
  checkCombination(command, reader.given);
  switch (command) {
    case "add-service":
    case "edit-service":
      return { kind: "edit", edit: { kind: command, service: reader.attributes(schedulerFlags) } };
    case "delete-service":
      return { kind: "edit", edit: { kind: command, service: reader.key() } };
    case "clear":
      return { kind: "edit", edit: { kind: command } };
    case "add-server":
    case "edit-server":
      reader.checkForwarding();
      return { kind: "edit", edit: { kind: command, service: reader.key(), server: reader.destination() } };
    case "delete-server": {
      const { address, port } = reader.destination();
      return { kind: "edit", edit: { kind: command, service: reader.key(), server: { address, port } } };
    }
    case "set":
      return { kind: "edit", edit: { kind: "set-timeouts", ...timeouts! } };
    case "start-daemon":
      return {
        kind: command,
        daemon: { role, ...reader.daemon, interface: reader.daemon.interface || "eth0" },
      };
    case "stop-daemon":
      return { kind: command, role, syncId: reader.daemon.syncId };
    case "zero":
      return { kind: command, service: reader.given.has("service-address") ? reader.key() : undefined };
    case "save":
      return { kind: command, isNumeric: reader.given.has("numeric") };
    case "restore":
      return { kind: command };
    case "list":
      return { kind: command, what: reader.listSubject(), format: reader.format() };
  }
}

function daemonRole({ name, value }: GivenOption): DaemonRole {
  if (value === "master" || value === "backup") return value;
  // ipvsadm words the two differently.
  throw new Refusal(
    name === "start-daemon" ? "illegal start-daemon parameter specified" : "illegal start_daemon specified",
  );
}

function timeoutValues(rest: readonly string[]): { tcp: number; tcpFin: number; udp: number } {
  if (rest.length < 3) throw new Refusal("--set option requires 3 timeout values");
  const [tcp, tcpFin, udp] = rest.slice(0, 3).map((text) => timeoutSeconds(text, 0));
  return { tcp: tcp!, tcpFin: tcpFin!, udp: udp! };
}

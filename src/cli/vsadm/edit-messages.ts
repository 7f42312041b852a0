/** What ipvsadm says when the kernel refuses: by command and error, then by error alone. */
import type { CommandName } from "./options.ts";

/** The commands that change something, zeroing and daemons included. */
export type ChangeName = CommandName | "set-timeouts";

const NO_SERVICE = "No such service";
const NO_SCHEDULER = "Scheduler or persistence engine not found";

const OF_COMMAND: Partial<Record<ChangeName, Readonly<Record<string, string>>>> = {
  "add-service": { EEXIST: "Service already exists", ENOENT: NO_SCHEDULER },
  "edit-service": { ESRCH: NO_SERVICE, ENOENT: NO_SCHEDULER },
  "delete-service": { ESRCH: NO_SERVICE },
  zero: { ESRCH: NO_SERVICE },
  "add-server": { ESRCH: "Service not defined", EEXIST: "Destination already exists" },
  "edit-server": { ESRCH: "Service not defined", ENOENT: "No such destination" },
  "delete-server": { ESRCH: "Service not defined", ENOENT: "No such destination" },
  "start-daemon": { EEXIST: "Daemon has already run" },
  "stop-daemon": { ESRCH: "No daemon is running" },
};

const INVALID = "Invalid operation.  Possibly wrong module version, address not unicast, ...";
/** All but the first are the C library's words. */
const OF_ERROR: Readonly<Record<string, string>> = {
  EINVAL: INVALID,
  ERANGE: "Numerical result out of range",
  ENODEV: "No such device",
  EADDRNOTAVAIL: "Cannot assign requested address",
};

/** The daemon's own sentence follows where ipvsadm's says too little, and stands alone where ipvsadm has none. */
export function editMessage(
  command: ChangeName,
  { code, message }: { readonly code: string; readonly message: string },
): string {
  const text = OF_COMMAND[command]?.[code] ?? OF_ERROR[code];
  if (text === undefined) return message;
  return text === INVALID ? `${text}\n${message}` : text;
}

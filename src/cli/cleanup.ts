/** `vsnat cleanup`: undo what a daemon that is gone left on this host, and give up the connections that it kept. */
import { Command } from "commander";
import { removePins } from "../control/pin-directory.ts";
import { SystemCallError } from "../datapath/system-call.ts";
import { describe } from "../datapath/tun/host/host-change.ts";
import { cleanUpHost } from "../datapath/tun/host/host-setup.ts";
import { CommandFailure } from "./exit-code.ts";
import { printJson } from "./terminal.ts";

export const command = (): Command =>
  new Command("cleanup")
    .summary("undo what a stopped or killed daemon left on this host")
    .description(
      "Undo the changes that a daemon which is gone left in this network namespace, exactly those it wrote down, and\n" +
        "give up the connections that it kept for the next start. What belongs to a running daemon, or was never\n" +
        "vsnat's, is not touched.",
    )
    .option("--json", "print what was undone as JSON")
    .action(cleanup);

function cleanup({ json }: { readonly json?: boolean }): void {
  const results = cleanUp().map((one) => ({ ...one, undone: one.undone.map(describe) }));
  if (json) {
    printJson({ devices: results });
    return;
  }
  const lines = results.flatMap(({ device, isInUse, undone, hadConnections }) => {
    if (isInUse) return [`${device}: a daemon is running with it; stop that one to put the host back`];
    const forgotten = hadConnections ? [`forgotten: the connections of ${device}`] : [];
    return [...undone.map((change) => `undone: ${change}`), ...forgotten];
  });
  process.stdout.write(`${lines.length === 0 ? "nothing to clean up" : lines.join("\n")}\n`);
}

function cleanUp(): ReturnType<typeof cleanUpHost> {
  try {
    const cleanups = cleanUpHost();
    for (const { device, isInUse } of cleanups) if (!isInUse) removePins(device);
    return cleanups;
  } catch (error) {
    const isKnown = error instanceof SystemCallError || error instanceof AggregateError;
    if (isKnown)
      throw new CommandFailure(`${error.message}\nRun it as root, in the network namespace of the daemon.`);
    throw error;
  }
}

/** `vsnat stop`: end the daemon. */
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { ask } from "./control-client.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";

interface Options {
  readonly flush?: boolean;
}

const LOOK_INTERVAL_MS = 50;
const PATIENCE_MS = 30_000;

export const command = (): Command =>
  new Command("stop")
    .summary("stop the daemon")
    .description(
      "Stop the daemon, as SIGTERM does. While connections are open the host stays as it is, and the next start goes on\n" +
        "with them; their packets are lost until then, and sent again.",
    )
    .option("--flush", "keep no connection, and put the host back as it was")
    .addHelpText("after", "\nExamples:\n  vsnat stop\n  vsnat stop --flush")
    .action(async ({ flush = false }: Options) => {
      await ask<undefined>("POST", "/v1/stop", { flush });
      for (let waitedMs = 0; await isAnswering(); waitedMs += LOOK_INTERVAL_MS) {
        if (waitedMs >= PATIENCE_MS) throw new CommandFailure("The daemon is still there; see its log");
        await delay(LOOK_INTERVAL_MS);
      }
      process.stdout.write("stopped\n");
    });

async function isAnswering(): Promise<boolean> {
  try {
    await ask("GET", "/v1/settings");
    return true;
  } catch (error) {
    // It hangs up while it ends; then nobody is there.
    return !(error instanceof CommandFailure && error.exitCode === ExitCode.notRunning);
  }
}

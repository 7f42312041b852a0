/** `vsnat trace`: packets of the running daemon, before and after, as they pass. */
import { Command } from "commander";
import type { TraceLine } from "../control/datapath-protocol.ts";
import { parseTraceFilter } from "../control/trace-filter.ts";
import { openStream } from "./control-client.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { painter } from "./terminal.ts";

export const command = (): Command =>
  new Command("trace")
    .summary("print packets before and after, live")
    .description(
      "Print packets of the running daemon, before and after, until Ctrl-C. The words of a filter must all hold, for\n" +
        "the packet as it came or as it went:\n\n" +
        "  host ADDRESS, port NUMBER   source or destination\n" +
        "  service PROTOCOL://VIP:PORT a virtual service\n" +
        "  tcp, udp, sctp, gre, icmp   any of those named\n" +
        "  drop                        only what the director refused",
    )
    .argument("[filter...]", "which packets; none: all")
    .option("-n, --count <count>", "end after this many packets")
    .option("--json", "print one JSON object a line")
    .addHelpText(
      "after",
      "\nExamples:\n  vsnat trace host 202.100.1.2 port 80\n  vsnat trace service tcp://202.103.106.5:80\n  vsnat trace drop",
    )
    .action(trace);

async function trace(
  words: readonly string[],
  options: { readonly count?: string; readonly json?: boolean },
): Promise<void> {
  const filter = words.join(" ");
  const parsed = parseTraceFilter(filter);
  if ("wanted" in parsed) throw new CommandFailure(`A filter is ${parsed.wanted}`, ExitCode.usage);
  const countMax = options.count === undefined ? Infinity : Number(options.count);
  if (!(countMax >= 1))
    throw new CommandFailure(`--count is ${options.count}, expected a number from 1`, ExitCode.usage);
  const paint = painter();
  let count = 0;
  const lines = await openStream<TraceLine>(`/v1/trace?filter=${encodeURIComponent(filter)}`);
  process.stderr.write(`tracing ${filter || "every packet"}; Ctrl-C ends it\n`);
  for await (const line of lines) {
    process.stdout.write(`${options.json ? JSON.stringify(line) : formatTraceLine(line, paint)}\n`);
    if (++count >= countMax) return;
  }
  throw new CommandFailure("The daemon has ended");
}

/** Two lines a packet: as it came, and as it went. */
function formatTraceLine(line: TraceLine, paint: ReturnType<typeof painter>): string {
  const time = new Date(line.timeMs).toISOString().slice(11, 23);
  const colour = line.verdict.startsWith("drop") ? "red" : line.verdict === "reply" ? "yellow" : "green";
  const lost = line.lostCount > 0 ? `${paint("yellow", `(${line.lostCount} not shown)`)}\n` : "";
  const after = line.after ?? paint("dim", "nothing is sent");
  const rewrites = (line.rewrites ?? []).map(
    ({ before, after }) => `\n${" ".repeat(12)} ~ ${JSON.stringify(before)} -> ${JSON.stringify(after)}`,
  );
  return `${lost}${time} > ${line.before}\n${paint(colour, line.verdict.padEnd(12))} < ${after}${rewrites.join("")}`;
}

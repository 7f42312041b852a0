/** `vsnat connections`: entries of the running daemon's connection table. */
import { Command } from "commander";
import type { Connections } from "../api/connections.ts";
import { formatEndpoint } from "../control/config/endpoint.ts";
import { printable } from "../control/config/issue.ts";
import type { Endpoint } from "../control/director-status.ts";
import { ask } from "./control-client.ts";
import { formatTable } from "./table.ts";
import { painter, printJson } from "./terminal.ts";

export const command = (): Command =>
  new Command("connections")
    .summary("list connections")
    .description(
      "List entries of the connection table, in no particular order: connections, and templates, which pin clients to\n" +
        "servers. Seen as: where the server sees the client, where that is not its own address.",
    )
    .option("-n, --limit <count>", "list at most this many, up to 100000", "1000")
    .option("--json", "print them as JSON")
    .addHelpText("after", "\nExample:\n  vsnat connections --limit 20")
    .action(connections);

async function connections({
  limit,
  json,
}: {
  readonly limit: string;
  readonly json?: boolean;
}): Promise<void> {
  const answer = await ask<Connections>("GET", `/v1/connections?limit=${encodeURIComponent(limit)}`);
  if (json) {
    printJson(answer);
    return;
  }
  const text = ({ address, port }: Endpoint) => formatEndpoint(address, port);
  const heading = ["protocol", "state", "client", "virtual", "server", "seen as", "expires s"];
  const rows = answer.connections.map((one) => [
    one.protocol,
    one.isTemplate ? `template ${one.state}` : one.state,
    text(one.client) + (one.engine ? ` ${one.engine.name} ${printable(one.engine.data)}` : ""),
    text(one.virtual),
    text(one.destination),
    one.source ? text(one.source) : "",
    String(one.expiresSeconds),
  ]);
  const paint = painter();
  const table = [heading.map((cell) => paint("dim", cell)), ...rows];
  const lines = formatTable(table, ["left", "left", "left", "left", "left", "left", "right"]);
  if (answer.count > rows.length) lines.push(`${answer.count - rows.length} more`);
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** The demo in words and pictures, for somebody who has read a paper about LVS and nothing else. */

import { formatEndpoint } from "../../control/config/endpoint.ts";
import type { DirectorConfig } from "../../nat/configuration.ts";
import type { painter } from "../terminal.ts";
import type { DirectorDaemon } from "./director-daemon.ts";
import { REFUSED_PORT, type Refusal, type Rewriting } from "./experiment.ts";
import type { FoundingNetwork } from "./founding-network.ts";

type Paint = ReturnType<typeof painter>;

const PICTURE = `
     client                     director                          real servers
                        ┌───────────────────────┐
  202.100.1.2 ──────────┤ VIP  202.103.106.5    ├────────────┬── A  172.16.0.2  web :80
            202.100.1.1 │      on no interface  │ 172.16.0.1 │
                        └───────────────────────┘            └── B  172.16.0.3  web :8000, ftp :21

`;

export class Story {
  readonly #paint: Paint;
  readonly #write: (text: string) => void;

  constructor(paint: Paint, write: (text: string) => void) {
    this.#paint = paint;
    this.#write = write;
  }

  opening(): void {
    this.#write(`${this.#paint("bold", "The founding example of Linux Virtual Server via NAT")}\n`);
    this.#write(this.#paint("cyan", PICTURE));
    this.#say(`
      Five network namespaces on this machine, joined by virtual cables; nothing of it touches the machine's own
      network. The client knows one address, the virtual IP. The director (vsnat run, an ordinary process) picks a
      real server for each connection, rewrites the packets on their way, and rewrites the answers back.
      There is the same once more in IPv6.`);
  }

  configuration({ services }: DirectorConfig, ftpServer: string): void {
    this.#heading("What the director was told");
    const rows = services.flatMap(({ protocol, address, port, scheduler, destinations }) =>
      destinations.map((server, index) => {
        const service = [protocol.toUpperCase(), formatEndpoint(address, port), scheduler];
        const real = [formatEndpoint(server.address, server.port), String(server.weight)];
        return [...(index === 0 ? service : ["", "", ""]), ...real];
      }),
    );
    this.#table(["protocol", "virtual service", "scheduler", "real server", "weight"], rows);
    this.#say("Every other port of the virtual addresses is refused.");
    this.#say(`The FTP server on B is ${ftpServer}.`);
    this.#say("FTP's data connections are not translated yet.");
  }

  rewriting({ sightings, answer }: Rewriting): void {
    this.#heading("One connection, as captured on the director's two interfaces");
    const notes = [
      "the client asks the VIP",
      "the director gave it to B",
      "B answers the client",
      "as if it were the VIP",
    ];
    const lines = sightings.map(({ device, direction, packet }, index) => {
      const [source = "", destination = ""] = packet.split(" tcp ", 1)[0]?.split(" > ") ?? [];
      const where = direction === "arrives" ? `${device} ►` : `► ${device}`;
      const [from, to] = [source.padEnd(16), destination.padEnd(16)];
      const changed = { 1: "destination", 3: "source" }[index];
      const tuple =
        changed === "destination"
          ? `${from} → ${this.#paint("yellow", to)}`
          : `${changed === "source" ? this.#paint("yellow", from) : from} → ${to}`;
      return `  ${where.padEnd(10)}  ${tuple}  ${this.#paint("dim", notes[index] ?? "")}`;
    });
    this.#write(`${lines.join("\n")}\n`);
    this.#say(`
      Only the destination changed on the way in, only the source on the way back; so the server sees the real client,
      and the client sees only the VIP. What curl got: ${this.#paint("green", answer)}`);
  }

  distribution(answers: readonly string[]): void {
    this.#heading(`${answers.length} more requests: weights 1 and 2`);
    const names = answers.map((answer) => /^server (\w)/.exec(answer)?.[1] ?? "?");
    const shown = names.map((name) => this.#paint(name === "A" ? "magenta" : "blue", name)).join(" ");
    this.#write(`  order  ${shown}\n`);
    for (const name of ["A", "B"]) {
      const count = names.filter((one) => one === name).length;
      const bar = this.#paint(name === "A" ? "magenta" : "blue", "█".repeat(count * 2));
      this.#write(`  ${name}      ${bar} ${count}\n`);
    }
    this.#say(`
      That order is no accident: it is, connection by connection, the one in which the Linux kernel's own IPVS serves
      these weights. (Its first pick was B, above.)`);
  }

  ipv6(answer: string): void {
    this.#heading("The same over IPv6");
    this.#write(`  ${this.#paint("green", answer)}\n`);
  }

  ftp(replies: readonly string[]): void {
    this.#heading("Port 21 belongs to server B alone");
    this.#write(`${replies.map((reply) => `  ${reply}`).join("\n")}\n`);
  }

  refusal({ packet, message }: Refusal): void {
    this.#heading(`Port ${REFUSED_PORT} is nobody's`);
    this.#write(`  ► outside  ${packet}\n  ${this.#paint("red", message)}\n`);
    this.#say("The director answered by itself, with a TCP reset (R) that speaks for the VIP.");
  }

  counters(status: string): void {
    this.#heading("What the director counted: vsnat status");
    this.#write(`${status.trimEnd().replaceAll(/^/gm, "  ")}\n`);
  }

  hints({ client, director }: FoundingNetwork, { environment }: DirectorDaemon): void {
    this.#heading("It keeps running: try it, in another terminal");
    const inClient = `ip netns exec ${client.namespace.name}`;
    const lines = [
      ["a request of your own", `${inClient} curl http://202.103.106.5/`],
      ["the order of the servers", `${inClient} curl -s 'http://202.103.106.5/?[1-9]'`],
      ["the VIP answers ping", `${inClient} ping -c 3 202.103.106.5`],
      ["the counters", `VSNAT_SOCKET=${environment.VSNAT_SOCKET} npx vsnat status`],
      ["what it set up", `ip netns exec ${director.name} ip rule`],
    ];
    for (const [what = "", command = ""] of lines) {
      this.#write(`  ${what.padEnd(25)} ${this.#paint("cyan", command)}\n`);
    }
    this.#write(`\n${this.#paint("bold", "Ctrl-C ends it and cleans up.")}\n`);
  }

  closing(isHostUnchanged: boolean): void {
    const verdict = isHostUnchanged
      ? this.#paint("green", "Cleaned up: this machine's links, routes and rules are as before.")
      : this.#paint("red", "Cleaned up, but this machine's links, routes or rules are not as before.");
    this.#write(`\n${verdict}\n`);
  }

  #heading(text: string): void {
    this.#write(`\n${this.#paint("bold", text)}\n`);
  }

  /** A paragraph, however it is indented in this file. */
  #say(text: string): void {
    const lines = text.trim().split("\n");
    this.#write(`${lines.map((line) => `  ${line.trim()}`).join("\n")}\n`);
  }

  #table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = head.map((title, column) =>
      Math.max(...[head, ...rows].map((row) => row[column]?.length ?? title.length)),
    );
    const line = (cells: readonly string[]): string =>
      `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd();
    this.#write(`  ${this.#paint("dim", line(head).trim())}\n`);
    for (const row of rows) this.#write(`${line(row)}\n`);
  }
}

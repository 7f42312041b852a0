/**
 * Persistence as recorded from a real kernel, driven with vsadm's commands alone: what each connection got, and what
 * `-Lcn` and `-Ln --nosort` showed in between, templates included.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { MarkRule } from "../../src/nat/configuration.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { formatIpv4 } from "../../src/wire/address.ts";
import { Administered } from "../support/administered.ts";
import { tcp } from "../support/packet-builder.ts";
import { IPVS_SETTINGS } from "../support/replayed.ts";

type Endpoint = readonly [operation: string, client: string, clientPort: number, virtualPort: number];
type Step =
  | { readonly op: Endpoint; readonly got?: string | null }
  | { readonly op: readonly ["wait", number] }
  | { readonly op: readonly ["run", string]; readonly status: number }
  | { readonly op: readonly ["list"]; readonly Lcn: string; readonly Ln: string }
  | { readonly op: readonly ["until-empty"]; readonly after: number; readonly entries: readonly Entry[] };
type Entry = readonly [protocol: string, client: string, port: number, state: string, expires: number];

interface Case {
  readonly name: string;
  readonly commands: readonly string[];
  readonly log: readonly Step[];
}

const CASES = JSON.parse(
  readFileSync(new URL("vsadm/persistence.json", import.meta.url), "utf8"),
) as readonly Case[];
const VIP = "202.103.106.5";
/** Longer than any entry lives. */
const EMPTY_MS = 1_000_000;

/** What was set outside of ipvsadm: a mark by iptables, a sysctl. */
function outside(name: string) {
  const marks = [80, 443].map((port): MarkRule => {
    return { mark: 9, protocol: "tcp", destination: `${VIP}/32`, ports: { first: port, last: port } };
  });
  const ipvs = { ...IPVS_DEFAULTS, expire_quiescent_template: 1 as const };
  return {
    ...(name.includes("mark") && { marks }),
    ...(name.includes("expire_quiescent_template=1") && { settings: { ...IPVS_SETTINGS, ipvs } }),
  };
}

class Conversation {
  readonly #director: Administered;
  readonly #client: string;
  readonly #virtual: string;
  #server = "";

  constructor(director: Administered, [, client, clientPort, virtualPort]: Endpoint) {
    this.#director = director;
    this.#client = `${client}:${clientPort}`;
    this.#virtual = `${VIP}:${virtualPort}`;
  }

  /** A handshake. @returns the server it reached */
  open(): string {
    const { verdict, bytes } = this.#fromClient("S");
    expect(verdict).toBe("to-server");
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    this.#server = `${formatIpv4(view.getInt32(16))}:${view.getUint16(22)}`;
    this.#fromServer("SA");
    this.#fromClient("A");
    return this.#server;
  }

  close(): void {
    this.#fromClient("FA");
    this.#fromServer("FA");
    this.#fromClient("A");
  }

  #fromClient(flags: string) {
    return this.#director.stage.send(tcp({ from: this.#client, to: this.#virtual, flags }));
  }

  #fromServer(flags: string): void {
    const packet = tcp({ from: this.#server, to: this.#client, flags });
    expect(this.#director.stage.send(packet).verdict).toBe("to-client");
  }
}

/** Rows in one order, the time of each apart. */
function rows(listing: string): { texts: string[]; seconds: number[] } {
  const all = listing.split("\n").map((line) => {
    const time = /(\d\d):(\d\d)(?=  [A-Z])/.exec(line);
    const text = line.replace(time?.[0] ?? "", "");
    return { text, seconds: time === null ? 0 : Number(time[1]) * 60 + Number(time[2]) };
  });
  all.sort((a, b) => (a.text < b.text ? -1 : 1));
  return { texts: all.map(({ text }) => text), seconds: all.map(({ seconds }) => seconds) };
}

/** The kernel's timers are up to an eighth late, so a template that begins again does so later every time. */
const WITH_RENEWED_TEMPLATES = "one address, template outlived and renewed";

/** An edit took the kernel a hundredth of a second or two, which the whole seconds of a list may show. */
function expectSameConnections(made: string, recorded: string, name: string): void {
  const [ours, theirs] = [rows(made), rows(recorded)];
  expect(ours.texts).toEqual(theirs.texts);
  ours.seconds.forEach((seconds, index) => {
    const text = ours.texts[index]!;
    if (name === WITH_RENEWED_TEMPLATES && text.includes("ASSURED")) return;
    expect([0, 1], text).toContain(seconds - theirs.seconds[index]!);
  });
}

test.each(CASES)("$name", async ({ name, commands, log }) => {
  const director = new Administered(outside(name));
  const vsadm = (command: string) => director.vsadm(command.replace("ipvsadm", ""));
  const conversations = new Map<string, Conversation>();
  for (const command of commands) expect(await vsadm(command)).toMatchObject({ status: 0, stderr: "" });
  for (const step of log) {
    const { op } = step;
    const at = JSON.stringify(op);
    if ("got" in step) {
      const conversation = new Conversation(director, step.op);
      expect(conversation.open(), at).toBe(step.got);
      conversations.set(op.slice(1).join(), conversation);
    } else if ("Lcn" in step) {
      expectSameConnections((await vsadm("-Lcn")).stdout, step.Lcn, name);
      expect((await vsadm("-Ln --nosort")).stdout).toBe(step.Ln);
    } else if ("status" in step) {
      expect((await vsadm(step.op[1])).status, at).toBe(step.status);
    } else if ("entries" in step) {
      // When entries go is the kernel's timers' business; that they go is checked.
      if (step.entries.length > 0) continue;
      director.stage.run(EMPTY_MS);
      expect(director.stage.connections()).toEqual([]);
    } else if (op[0] === "wait") {
      director.stage.run(Number(op[1]) * 1000);
    } else {
      conversations.get(op.slice(1).join())!.close();
    }
  }
});

/**
 * The engine of the application modules: which connection has which, and its packets through its streams. Dialogues are
 * made when they are first needed and used again, DIALOGUES_MAX of them; a connection finds its own by a word of its entry.
 */
import type { ApplicationName } from "../../nat/configuration.ts";
import { ConnectionFlag, type ConnectionTable } from "../../nat/connection-table.ts";
import type {
  ApplicationHost,
  Applications,
  ApplicationsFactory,
  ApplicationUsage,
} from "../../nat/contracts/application.ts";
import type { Expectations } from "../../nat/expectations.ts";
import { TCP_STATE } from "../../nat/protocol/tcp.ts";
import type { Flow } from "../../wire/flow.ts";
import type { Packet } from "../../wire/packet.ts";
import type { LineModule } from "./line-module.ts";
import { passSegment } from "./segment.ts";
import type { Stream } from "./stream.ts";
import { type Count, TextDialogue } from "./text-dialogue.ts";

/** Connections that may have a module at a time, about 7 kB each. */
export const DIALOGUES_MAX = 16_384;

/** A module, and what it has done. */
interface Working {
  readonly module: LineModule;
  readonly counters: Count;
}

export class Engine implements Applications {
  onRewrite: ((before: string, after: string) => void) | undefined;
  readonly connections: ConnectionTable;
  readonly expectations: Expectations;
  readonly #working: readonly Working[];
  readonly #dialogues: TextDialogue[] = [];
  readonly #free: number[] = [];

  constructor(host: ApplicationHost, modules: readonly LineModule[]) {
    this.connections = host.connections;
    this.expectations = host.expectations;
    this.#working = modules.map((module) => ({ module, counters: { ...NOTHING } }));
  }

  begin(record: number, name: ApplicationName): void {
    const working = this.#find(name);
    if (working === undefined) return;
    const { module, counters } = working;
    const number = this.#free.pop() ?? this.#dialogues.length;
    if (number === DIALOGUES_MAX) {
      counters.unattended++;
      return;
    }
    if (number === this.#dialogues.length) this.#dialogues.push(new TextDialogue(this, module, counters));
    this.#dialogues[number]!.begin(record, module, counters);
    this.connections.setSequence(record, number);
    this.connections.setFlag(record, ConnectionFlag.application, true);
  }

  toServer(packet: Packet, flow: Flow, record: number): boolean {
    const dialogue = this.#dialogueOf(record);
    return this.#pass(packet, flow, dialogue, dialogue.toServer, dialogue.toClient);
  }

  toClient(packet: Packet, flow: Flow, record: number): boolean {
    const dialogue = this.#dialogueOf(record);
    return this.#pass(packet, flow, dialogue, dialogue.toClient, dialogue.toServer);
  }

  end(record: number): void {
    const number = this.connections.sequence(record);
    this.#dialogues[number]!.record = -1;
    this.#free.push(number);
  }

  announcedBegan(control: number): void {
    if (this.connections.hasFlag(control, ConnectionFlag.application))
      this.#dialogueOf(control).counters.begun++;
  }

  ofPort(names: readonly ApplicationName[], port: number): ApplicationName | undefined {
    return names.find((name) => this.#find(name)?.module.ports.includes(port));
  }

  usage(): ApplicationUsage[] {
    const live = this.#dialogues.filter(({ record }) => record >= 0);
    return this.#working.map(({ module, counters }) => {
      const ports = new Map<number, number>();
      for (const dialogue of live) {
        if (dialogue.module !== module) continue;
        const port = this.connections.virtualPort(dialogue.record);
        ports.set(port, (ports.get(port) ?? 0) + 1);
      }
      return {
        name: module.name,
        ports: [...ports].map(([port, connections]) => ({ port, connections })),
        counters: { ...counters },
      };
    });
  }

  #pass(packet: Packet, flow: Flow, dialogue: TextDialogue, own: Stream, opposite: Stream): boolean {
    const isOpening = this.connections.state(dialogue.record) !== TCP_STATE.established;
    const passage = passSegment(packet, flow, own, opposite, isOpening);
    if (passage === "passed") return true;
    if (passage !== "malformed") dialogue.counters[passage]++;
    return false;
  }

  #dialogueOf(record: number): TextDialogue {
    return this.#dialogues[this.connections.sequence(record)]!;
  }

  #find(name: ApplicationName): Working | undefined {
    for (let k = 0; k < this.#working.length; k++)
      if (this.#working[k]!.module.name === name) return this.#working[k];
    return undefined;
  }
}

const NOTHING: Count = {
  rewritten: 0,
  announced: 0,
  begun: 0,
  foreign: 0,
  lowPort: 0,
  noPlace: 0,
  badChecksum: 0,
  outOfOrder: 0,
  unacknowledged: 0,
  encrypted: 0,
  unattended: 0,
  failed: 0,
};

/** Modules for a director. */
export const applicationsOf =
  (modules: readonly LineModule[]): ApplicationsFactory =>
  (host) =>
    new Engine(host, modules);

/** A connection whose protocol is made of text lines: its two streams, its module at work, what it announced. */

import { ConnectionFlag, type ConnectionTable } from "../../nat/connection-table.ts";
import type { ApplicationCounters } from "../../nat/contracts/application.ts";
import { ANNOUNCED_PORT_MIN, type Expectations } from "../../nat/expectations.ts";
import { formatAddress } from "../../wire/address.ts";
import type { Dialogue, LineModule, LineRule } from "./line-module.ts";
import { type LineReader, PIECE_BYTES_MAX, Stream } from "./stream.ts";

/** Most that a module may have announced at a time. */
const EXPECTATIONS_MAX = 8;
const SMALL_LETTERS = 0x20;

export type Count = { -readonly [Name in keyof ApplicationCounters]: number };

/** What dialogues share. */
export interface DialogueHost {
  readonly connections: ConnectionTable;
  readonly expectations: Expectations;
  onRewrite: ((before: string, after: string) => void) | undefined;
}

export class TextDialogue implements Dialogue {
  memory = 0;
  record = -1;
  module: LineModule;
  counters: Count;
  readonly toServer: Stream;
  readonly toClient: Stream;
  readonly #host: DialogueHost;
  /** Entries that were announced, -1 where there is none. */
  readonly #expected = new Int32Array(EXPECTATIONS_MAX).fill(-1);

  constructor(host: DialogueHost, module: LineModule, counters: Count) {
    this.#host = host;
    this.module = module;
    this.counters = counters;
    this.toServer = new Stream(new SideReader(this, "client"));
    this.toClient = new Stream(new SideReader(this, "server"));
  }

  /** Begin anew, for another connection. */
  begin(record: number, module: LineModule, counters: Count): void {
    this.memory = 0;
    this.record = record;
    this.module = module;
    this.counters = counters;
    this.toServer.reset();
    this.toClient.reset();
    this.#expected.fill(-1);
  }

  get family(): 4 | 6 {
    return this.#host.connections.family(this.record) as 4 | 6;
  }

  get virtualAddress(): string {
    const { connections: table } = this.#host;
    return formatAddress(this.family, table.words, table.virtualAt(this.record));
  }

  get clientAddress(): string {
    const { connections: table } = this.#host;
    const source = table.source(this.record);
    if (source > 0) return formatAddress(this.family, table.sourceWords, source * 4);
    return formatAddress(this.family, table.words, table.clientAt(this.record));
  }

  /** Does the other side know this one by another address? */
  isHidden(side: "client" | "server"): boolean {
    const { connections: table } = this.#host;
    return side === "client"
      ? table.source(this.record) > 0
      : !table.hasFlag(this.record, ConnectionFlag.masquerade);
  }

  serverListens(address: string, port: number): number {
    if (!this.isHidden("server")) return 0;
    const { connections: table, expectations } = this.#host;
    const own = formatAddress(this.family, table.words, table.destinationAt(this.record));
    // A server may be told the address that clients know.
    if (!this.#mayAnnounce(address === own || address === this.virtualAddress, port)) return 0;
    return this.#announce(expectations.serverListens(this.record, port));
  }

  clientListens(address: string, port: number): number {
    const { connections: table, expectations } = this.#host;
    const own = formatAddress(this.family, table.words, table.clientAt(this.record));
    if (!this.#mayAnnounce(address === own, port)) return 0;
    // FTP's rule, and IPVS's for it: the port in front of the control connection's.
    const isMasquerade = table.hasFlag(this.record, ConnectionFlag.masquerade);
    const virtualPort = isMasquerade ? 0 : Math.max(1, table.virtualPort(this.record) - 1);
    return this.#announce(expectations.clientListens(this.record, port, virtualPort));
  }

  stepAside(): void {
    this.counters.encrypted++;
    this.passUnread();
  }

  /** Read nothing any more. */
  passUnread(): void {
    this.toServer.isOpaque = true;
    this.toClient.isOpaque = true;
  }

  /** @returns characters that stand for the line, or undefined */
  read(rule: LineRule, line: string): string | undefined {
    try {
      const after = rule.read(line, this);
      return after === undefined || after === line || after.length > PIECE_BYTES_MAX ? undefined : after;
    } catch {
      this.counters.failed++;
      this.passUnread();
      return undefined;
    }
  }

  rewrote(before: string, after: string): void {
    this.counters.rewritten++;
    this.#host.onRewrite?.(before, after);
  }

  #mayAnnounce(isOwn: boolean, port: number): boolean {
    if (!isOwn) this.counters.foreign++;
    else if (port < ANNOUNCED_PORT_MIN) this.counters.lowPort++;
    else return true;
    return false;
  }

  /** @param record - of the entry that was made for it, or -1 @returns its public port, or 0 */
  #announce(record: number): number {
    if (record < 0) {
      this.counters.noPlace++;
      return 0;
    }
    const { expectations } = this.#host;
    const { publicPort } = expectations;
    const expected = this.#expected;
    const known = expected.indexOf(record);
    if (known < 0 || known >= this.module.expectationsMax) {
      const last = this.module.expectationsMax - 1;
      if (expected[last] !== -1) expectations.withdraw(expected[last]!, this.record);
      expected.copyWithin(1, 0, last);
      expected[0] = record;
    }
    this.counters.announced++;
    return publicPort;
  }
}

/** Finds the rule for a line of one side, without making a string of lines that have none. */
class SideReader implements LineReader {
  readonly #dialogue: TextDialogue;
  readonly #side: "client" | "server";

  constructor(dialogue: TextDialogue, side: "client" | "server") {
    this.#dialogue = dialogue;
    this.#side = side;
  }

  mayReplace(line: Uint8Array, length: number): boolean {
    const { rules } = this.#dialogue.module;
    for (let k = 0; k < rules.length; k++) {
      const rule = rules[k]!;
      if (rule.from !== this.#side || rule.hasAddress !== true) continue;
      if (beginsWith(line, length, rule.lead)) return this.#dialogue.isHidden(this.#side);
    }
    return false;
  }

  read(line: Uint8Array, length: number, out: Uint8Array, outAt: number): number {
    const { rules } = this.#dialogue.module;
    for (let k = 0; k < rules.length; k++) {
      const rule = rules[k]!;
      if (rule.from !== this.#side || length < rule.lead.length || !beginsWith(line, length, rule.lead))
        continue;
      const before = textOf(line, length);
      const after = this.#dialogue.read(rule, before);
      if (after === undefined) return 0;
      for (let i = 0; i < after.length; i++) out[outAt + i] = after.charCodeAt(i);
      this.#dialogue.rewrote(before, after);
      return after.length;
    }
    return 0;
  }
}

/** As far as both go, letters of either case. */
function beginsWith(line: Uint8Array, length: number, lead: string): boolean {
  for (let i = 0; i < length && i < lead.length; i++) {
    const wanted = lead.charCodeAt(i);
    const isLetter = wanted >= 0x41 && wanted <= 0x5a;
    if (line[i] !== wanted && !(isLetter && line[i] === wanted + SMALL_LETTERS)) return false;
  }
  return true;
}

function textOf(line: Uint8Array, length: number): string {
  let text = "";
  for (let i = 0; i < length; i++) text += String.fromCharCode(line[i]!);
  return text;
}

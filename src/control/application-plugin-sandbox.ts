/** A user's application module at work in a sandbox: lines and datagrams in, what goes on in their place out. */
import type { QuickJSHandle } from "quickjs-emscripten-core";
import type { Announcement, Dialogue, Side } from "../alg/engine/module.ts";
import type { ApplicationPluginCode } from "./application-plugin.ts";
import {
  APPLICATION_GUEST_CODE,
  type ApplicationGuest,
  type ExportsSummary,
  type GuestQuestion,
} from "./application-plugin-guest.ts";
import { ANSWER_STEPS_MAX, Sandbox, type SandboxEngine, SandboxError } from "./sandbox.ts";

export const RULES_MAX = 64;
const LEAD = /^[!-~][ -~]{0,62}$/;
const ANNOUNCEMENT_CHARACTERS_MAX = 1000;
const ANSWER_BYTES_MAX = 65_535;

export class ApplicationSandbox extends Sandbox {
  summary: ExportsSummary = { hasBegin: false, hasDatagram: false, rules: [] };
  readonly #methods = new Map<keyof ApplicationGuest, QuickJSHandle>();
  /** The connection that is being read for. */
  #dialogue: Dialogue | undefined;

  /** Run a module's statements. @throws SandboxError */
  static open(engine: SandboxEngine, plugin: ApplicationPluginCode): ApplicationSandbox {
    return engine.open(
      (place) => new ApplicationSandbox(place),
      (sandbox) => sandbox.guard(() => sandbox.#begin(plugin)),
    );
  }

  /** A connection begins. @throws SandboxError */
  opened(dialogue: Dialogue): void {
    this.#answer("opened", dialogue, []);
  }

  /** @returns the line in its place, or undefined @throws SandboxError */
  line(rule: number, line: Uint8Array, dialogue: Dialogue): Uint8Array | undefined {
    return this.#answer("line", dialogue, [this.context.newNumber(rule), this.#memory(line)]);
  }

  /** @returns the datagram in its place, or undefined @throws SandboxError */
  datagram(from: Side, bytes: Uint8Array, dialogue: Dialogue): Uint8Array | undefined {
    return this.#answer("datagram", dialogue, [this.context.newString(from), this.#memory(bytes)]);
  }

  #memory(bytes: Uint8Array): QuickJSHandle {
    return this.context.newArrayBuffer(bytes.slice().buffer);
  }

  #begin(plugin: ApplicationPluginCode): void {
    const { context } = this;
    const ask = context.newFunction("ask", (question, side, announcement) =>
      this.#tell(
        context.getString(question) as GuestQuestion,
        side === undefined ? undefined : (context.dump(side) as unknown),
        announcement === undefined ? "" : context.getString(announcement),
      ),
    );
    const { ours, module } = this.load(APPLICATION_GUEST_CODE, plugin, this.own(ask));
    for (const name of ["begin", "opened", "line", "datagram"] as const)
      this.#methods.set(name, this.own(context.getProp(ours, name)));
    const summary = context.getString(this.own(this.call(this.#methods.get("begin")!, module)));
    if (summary.startsWith("!")) throw new SandboxError(summary.slice(1), false);
    this.summary = JSON.parse(summary) as ExportsSummary;
    const { rules } = this.summary;
    if (rules.length > RULES_MAX)
      throw new SandboxError(`it has ${rules.length} rules, at most ${RULES_MAX}`, false);
    const wrong = rules.findIndex(({ lead }) => !LEAD.test(lead) || lead !== lead.toUpperCase());
    if (wrong >= 0)
      throw new SandboxError(
        `the lead of rule ${wrong} is not 1 to 63 characters of ASCII, letters as capitals`,
        false,
      );
  }

  #answer(
    name: keyof ApplicationGuest,
    dialogue: Dialogue,
    values: readonly QuickJSHandle[],
  ): Uint8Array | undefined {
    this.#dialogue = dialogue;
    this.allow(ANSWER_STEPS_MAX);
    try {
      return this.guard(() => {
        const answer = this.call(this.#methods.get(name)!, ...values);
        try {
          if (this.context.typeof(answer) === "undefined") return undefined;
          return this.#bytesOf(answer);
        } finally {
          answer.dispose();
        }
      });
    } finally {
      this.#dialogue = undefined;
      if (!this.isLost) for (const value of values) value.dispose();
    }
  }

  /** A module may have changed what our side relies on. */
  #bytesOf(answer: QuickJSHandle): Uint8Array {
    let copy: Uint8Array | undefined;
    try {
      const bytes = this.context.getArrayBuffer(answer);
      if (bytes.value.length <= ANSWER_BYTES_MAX) copy = bytes.value.slice();
      bytes.dispose();
    } catch {
      throw new SandboxError("the answer is no memory", false);
    }
    if (copy === undefined)
      throw new SandboxError(`the answer has more than ${ANSWER_BYTES_MAX} bytes`, false);
    return copy;
  }

  /** What the module asks of its connection; outside of an answer there is none. */
  #tell(question: GuestQuestion, value: unknown, announcement: string): QuickJSHandle {
    const { context } = this;
    const dialogue = this.#dialogue;
    if (dialogue === undefined) throw new Error("there is no connection now");
    const isSide = value === "client" || value === "server";
    switch (question) {
      case "transport":
        return context.newString(dialogue.transport);
      case "family":
        return context.newNumber(dialogue.family);
      case "memory":
        return context.newNumber(dialogue.memory);
      case "remember":
        dialogue.memory = Number(value) | 0;
        return context.undefined;
      case "stepAside":
        dialogue.stepAside();
        return context.undefined;
      case "passUnread":
        dialogue.passUnread();
        return context.undefined;
    }
    if (!isSide) throw new Error('a side is "client" or "server"');
    switch (question) {
      case "isHidden":
        return dialogue.isHidden(value) ? context.true : context.false;
      case "ownAddress":
        return context.newString(dialogue.ownAddress(value));
      case "shownAddress":
        return context.newString(dialogue.shownAddress(value));
      case "ownPort":
        return context.newNumber(dialogue.ownPort(value));
      case "shownPort":
        return context.newNumber(dialogue.shownPort(value));
      case "listens":
        return context.newNumber(dialogue.listens(value, announcementOf(announcement)));
    }
  }
}

/** @throws Error when it is none */
function announcementOf(json: string): Announcement {
  if (json.length > ANNOUNCEMENT_CHARACTERS_MAX) throw new Error("an announcement is too long");
  const said: unknown = JSON.parse(json);
  if (typeof said !== "object" || said === null) throw new Error("an announcement is an object");
  const { protocol, port, lastPort, address, preferredPort, isPair, from, isLasting, seconds } =
    said as Record<string, unknown>;
  if (protocol !== "tcp" && protocol !== "udp")
    throw new Error('the protocol of an announcement is "tcp" or "udp"');
  if (!isPort(port)) throw new Error("the port of an announcement is a whole number from 1 to 65535");
  if (lastPort !== undefined && !(isPort(lastPort) && lastPort >= port))
    throw new Error("the last port of an announcement is a port behind the first");
  if (seconds !== undefined && !(typeof seconds === "number" && seconds >= 1 && Number.isInteger(seconds)))
    throw new Error("the seconds of an announcement are a whole number");
  return {
    protocol,
    port,
    ...(lastPort !== undefined && lastPort > port && { lastPort }),
    ...(typeof address === "string" && { address }),
    ...(isPort(preferredPort) && { preferredPort }),
    isPair: isPair === true,
    from: from === "anyone" ? "anyone" : "peer",
    isLasting: isLasting === true,
    ...(seconds !== undefined && { seconds }),
  };
}

const isPort = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;

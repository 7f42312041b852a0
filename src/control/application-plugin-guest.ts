/**
 * Our side inside the sandbox of an application module. The text of `guest` is evaluated there, so it may refer to nothing but
 * the language and its parameter. Payload crosses the wall as memory, because texts end at a NUL there.
 */
import type {
  ApplicationModuleExports,
  ModuleAnnouncement,
  ModuleDialogue,
  ModuleLineRule,
  ModuleSide,
} from "./application-plugin.ts";

/** What the guest may ask of the connection, or have done to it. */
export type GuestQuestion =
  | "transport"
  | "family"
  | "memory"
  | "remember"
  | "isHidden"
  | "ownAddress"
  | "shownAddress"
  | "ownPort"
  | "shownPort"
  | "listens"
  | "stepAside"
  | "passUnread";
type Ask = (question: GuestQuestion, side?: ModuleSide | number, announcement?: string) => unknown;

export interface ApplicationGuest {
  /** @returns JSON of what the module exports, or what is wrong with it behind a "!" */
  begin(module: ApplicationModuleExports): string;
  opened(): void;
  /** @returns what goes on in its place, or nothing */
  line(rule: number, bytes: ArrayBuffer): ArrayBuffer | undefined;
  datagram(from: ModuleSide, bytes: ArrayBuffer): ArrayBuffer | undefined;
}

/** JSON of begin(). */
export interface ExportsSummary {
  readonly hasBegin: boolean;
  readonly hasDatagram: boolean;
  readonly rules: readonly Pick<ModuleLineRule, "from" | "lead" | "names">[];
}

function guest(ask: Ask): ApplicationGuest {
  // A replay does again what was done.
  Reflect.deleteProperty(Math, "random");
  let module: ApplicationModuleExports = {};
  let rules: readonly ModuleLineRule[] = [];

  const dialogue: ModuleDialogue = Object.freeze({
    get transport() {
      return ask("transport") as "tcp" | "udp";
    },
    get family() {
      return ask("family") as 4 | 6;
    },
    get memory() {
      return ask("memory") as number;
    },
    set memory(value) {
      ask("remember", Number(value) | 0);
    },
    isHidden: (side: ModuleSide) => ask("isHidden", side) as boolean,
    ownAddress: (side: ModuleSide) => ask("ownAddress", side) as string,
    shownAddress: (side: ModuleSide) => ask("shownAddress", side) as string,
    ownPort: (side: ModuleSide) => ask("ownPort", side) as number,
    shownPort: (side: ModuleSide) => ask("shownPort", side) as number,
    listens: (side: ModuleSide, announcement: ModuleAnnouncement) =>
      ask("listens", side, JSON.stringify(announcement)) as number,
    stepAside: () => void ask("stepAside"),
    passUnread: () => void ask("passUnread"),
  });

  const textOf = (bytes: ArrayBuffer): string => {
    const octets = new Uint8Array(bytes);
    let text = "";
    for (let i = 0; i < octets.length; i++) text += String.fromCharCode(octets[i]!);
    return text;
  };

  return {
    begin(exported) {
      module = exported;
      rules = exported.rules ?? [];
      for (const name of ["begin", "datagram"] as const)
        if (exported[name] !== undefined && typeof exported[name] !== "function")
          return `!its ${name} is no function`;
      if (!Array.isArray(rules)) return "!its rules are no list";
      for (const [index, rule] of rules.entries()) {
        const { from, lead, names, read } = rule ?? {};
        const isRule =
          (from === "client" || from === "server") && typeof lead === "string" && typeof read === "function";
        if (!isRule || (names !== undefined && names !== "own" && names !== "other"))
          return `!rule ${index} is not { from: "client" or "server", lead: text, names: "own" or "other", read: function }`;
      }
      if (rules.length === 0 && module.datagram === undefined && module.begin === undefined)
        return "!it exports no rules, no function datagram and no function begin";
      return JSON.stringify({
        hasBegin: module.begin !== undefined,
        hasDatagram: module.datagram !== undefined,
        rules: rules.map(({ from, lead, names }) => ({ from, lead, names })),
      });
    },
    opened: () => module.begin?.(dialogue),
    line(rule, bytes) {
      const after = rules[rule]?.read(textOf(bytes), dialogue);
      if (after === undefined || after === null) return undefined;
      if (typeof after !== "string") throw new TypeError("read returned something that is no text");
      const octets = new Uint8Array(after.length);
      for (let i = 0; i < after.length; i++) {
        const octet = after.charCodeAt(i);
        if (octet > 255) throw new RangeError("read returned a character that is no byte");
        octets[i] = octet;
      }
      return octets.buffer;
    },
    datagram(from, bytes) {
      const after = module.datagram?.(new Uint8Array(bytes), from, dialogue);
      if (after === undefined || after === null) return undefined;
      if (!(after instanceof Uint8Array))
        throw new TypeError("datagram returned something that is no Uint8Array");
      return after.slice().buffer;
    },
  };
}

/** An expression whose value is `guest`. */
export const APPLICATION_GUEST_CODE = `(${guest})`;

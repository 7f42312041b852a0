/** The family of protocols made of text lines: a module says which lines matter, and what follows from them. */
import type { ApplicationName } from "../../nat/configuration.ts";
import { type ApplicationModule, type Dialogue, opposite, type Side } from "./module.ts";
import type { Unit } from "./unit.ts";

/** Longer lines are passed on unread. */
export const LINE_BYTES_MAX = 512;
const LINE_FEED = 0x0a;

export interface LineModule {
  readonly name: ApplicationName;
  /** TCP ports of the protocol, for connections that a masquerade rule's modules are for. */
  readonly ports: readonly number[];
  /** Connections that may be announced and not yet begun; another one takes the place of the oldest. */
  readonly expectationsMax: number;
  /** Default: LINE_BYTES_MAX. */
  readonly lineBytesMax?: number;
  readonly begin?: (dialogue: Dialogue) => void;
  /** The first that fits a line counts. */
  readonly rules: readonly LineRule[];
}

export interface LineRule {
  readonly from: Side;
  /** How the line begins, in capitals; it may come in small letters too. */
  readonly lead: string;
  /**
   * Whose addresses stand in it: `own`, the speaker's, or those of the `other` side. Its beginning is not passed on before
   * its end when that side is hidden. Default: nobody's, and the line is only read.
   */
  readonly names?: "own" | "other";
  /**
   * @param line - with its end, a character a byte
   * @returns the line that goes on in its place; undefined: it stays
   */
  read(line: string, dialogue: Dialogue): string | undefined;
}

/** The module for the engine. */
export function lineModule(definition: LineModule): ApplicationModule {
  const { name, ports, expectationsMax, lineBytesMax = LINE_BYTES_MAX, begin, rules } = definition;
  return {
    name,
    transports: ["tcp"],
    ports,
    expectationsMax,
    ...(begin === undefined ? {} : { begin }),
    stream: {
      unitBytesMax: lineBytesMax,
      endByte: LINE_FEED,
      measure: (unit) => (unit.u8(unit.length - 1) === LINE_FEED ? unit.length : 0),
      mayChange: (unit, from, dialogue) => {
        for (let k = 0; k < rules.length; k++) {
          const { names, lead, from: speaker } = rules[k]!;
          if (speaker !== from || names === undefined || !unit.beginsLike(lead)) continue;
          return dialogue.isHidden(names === "own" ? from : opposite(from));
        }
        return false;
      },
    },
    read: (unit, from, dialogue) => readLine(unit, rules, from, dialogue),
  };
}

/** Finds the rule for a line, without making a string of lines that have none. */
function readLine(unit: Unit, rules: readonly LineRule[], from: Side, dialogue: Dialogue): void {
  for (let k = 0; k < rules.length; k++) {
    const rule = rules[k]!;
    if (rule.from !== from || !unit.has(0, rule.lead)) continue;
    const before = unit.text();
    const after = rule.read(before, dialogue);
    if (after !== undefined && after !== before) unit.replace(0, unit.length, after);
    return;
  }
}

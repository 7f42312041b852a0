/**
 * A command line cut into options and arguments, as the popt library does it for ipvsadm: `-Ln`, `-t VALUE`, `-tVALUE`,
 * `-t=VALUE`, `--tcp-service VALUE`, `--tcp-service=VALUE`, `--` ends the options, and -p's value may be left out. Pure.
 */
import { OPTIONS, type OptionName, type OptionSpec } from "./options.ts";

export interface GivenOption {
  readonly name: OptionName;
  /** Undefined: it takes none, or it may be left out and was. */
  readonly value: string | undefined;
  /** The last word it took, which is what ipvsadm's messages quote. */
  readonly word: string;
}

export interface Arguments {
  /** In the order they were given. */
  readonly options: readonly GivenOption[];
  /** Words that are no options. */
  readonly rest: readonly string[];
  /** What is wrong behind the last of `options`, where reading stopped. */
  readonly mistake?: string;
}

const ENTRIES = Object.entries(OPTIONS) as [OptionName, OptionSpec][];
const BY_LETTER = new Map(
  ENTRIES.flatMap(([name, { letters = "" }]) => [...letters].map((letter) => [letter, name] as const)),
);

export function readArguments(words: readonly string[]): Arguments {
  const options: GivenOption[] = [];
  const rest: string[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    if (word === "--") {
      rest.push(...words.slice(index + 1));
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      rest.push(word);
      continue;
    }
    const read = word.startsWith("--") ? readLong(word) : readLetters(word);
    options.push(...read.flags);
    if (read.mistake !== undefined) return { options, rest, mistake: `${word}: ${read.mistake}` };
    if (read.valued === undefined) continue;
    const { name, attached } = read.valued;
    const next = words[index + 1];
    if (attached !== undefined) options.push({ name, value: attached, word });
    else if (
      (OPTIONS[name] as OptionSpec).value === "optional" &&
      (next === undefined || next.startsWith("-"))
    )
      options.push({ name, value: undefined, word });
    else if (next === undefined) return { options, rest, mistake: `${word}: missing argument` };
    else {
      options.push({ name, value: next, word: next });
      index++;
    }
  }
  return { options, rest };
}

/** What one word holds: options without a value, then at most one with. */
interface ReadWord {
  readonly flags: readonly GivenOption[];
  readonly valued?: { readonly name: OptionName; readonly attached: string | undefined };
  readonly mistake?: string;
}

const UNKNOWN = "unknown option";
const UNWANTED_VALUE = "option does not take an argument";

function readLong(word: string): ReadWord {
  const equals = word.indexOf("=");
  const text = word.slice(2, equals < 0 ? undefined : equals);
  if (!Object.hasOwn(OPTIONS, text)) return { flags: [], mistake: UNKNOWN };
  const name = text as OptionName;
  const attached = equals < 0 ? undefined : word.slice(equals + 1);
  if ((OPTIONS[name] as OptionSpec).value !== undefined) return { flags: [], valued: { name, attached } };
  if (attached !== undefined) return { flags: [], mistake: UNWANTED_VALUE };
  return { flags: [{ name, value: undefined, word }] };
}

function readLetters(word: string): ReadWord {
  const flags: GivenOption[] = [];
  for (let at = 1; at < word.length; at++) {
    const name = BY_LETTER.get(word[at]!);
    if (name === undefined) return { flags, mistake: UNKNOWN };
    const behind = word.slice(at + 1);
    if ((OPTIONS[name] as OptionSpec).value !== undefined) {
      const attached = behind === "" ? undefined : behind.replace(/^=/, "");
      return { flags, valued: { name, attached } };
    }
    if (behind.startsWith("=")) return { flags, mistake: UNWANTED_VALUE };
    flags.push({ name, value: undefined, word });
  }
  return { flags };
}

/**
 * Facts about Linux IPVS that tests compare with, as text files beside this one: the tables of the project's reference in
 * their markdown form (tcp-*, sctp-*), and what a running kernel was seen to do (tcp-transitions*, rates).
 */
import { readFileSync } from "node:fs";

export function referenceLines(name: string): string[] {
  const text = readFileSync(new URL(name, import.meta.url), "utf8");
  return text.split("\n").filter((line) => line !== "");
}

/** The body of a markdown table: rows of trimmed cells, without heading and rule. */
export function referenceRows(name: string): string[][] {
  return referenceLines(name)
    .slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** One cell of a state table: what an event makes of a state. States are the reference's two letters. */
export interface Transition {
  readonly direction: string;
  readonly event: string;
  readonly state: string;
  readonly next: string;
}

/** A state table with columns direction, event, then one per state; an empty direction means the row above's. */
export function referenceTransitions(name: string): Transition[] {
  const [heading] = referenceLines(name);
  const states = heading!.split("|").slice(3, -1).map((cell) => cell.trim());
  let direction = "";
  return referenceRows(name).flatMap(([where, event, ...cells]) => {
    if (where !== "") direction = where!;
    return cells.map((next, column) => ({ direction, event: event!, state: states[column]!, next }));
  });
}

/** What the kernel did with one segment: `from` and `to` are the names ipvsadm shows; undefined: no entry any more. */
export interface SeenTransition {
  readonly reachedBy: readonly string[];
  readonly from: string;
  /** "c:SA": a SYN+ACK from the client; "s:": a segment without flags from the real server. */
  readonly segment: string;
  readonly to: string | undefined;
  readonly expiresSeconds: number | undefined;
  readonly isForwarded: boolean;
}

export function seenTransitions(name: string): SeenTransition[] {
  let from = "";
  let reachedBy: string[] = [];
  return referenceLines(name).flatMap((line) => {
    const heading = /^from (\w+) \(reached by (.*)\)/.exec(line);
    if (heading !== null) {
      from = heading[1]!;
      reachedBy = heading[2]!.split(" ");
    }
    const seen = /^ {3}(\S+)\s+-> (\w+) \((\w+)\)(.*)/.exec(line);
    if (seen === null) return [];
    // An entry that "expires" in 0 s was given up and waits for its timer to run.
    const isGone = seen[2] === "None" || seen[3] === "0";
    return {
      reachedBy,
      from,
      segment: seen[1]!,
      to: isGone ? undefined : seen[2],
      expiresSeconds: isGone ? undefined : Number(seen[3]),
      isForwarded: !seen[4]!.includes("not forwarded"),
    };
  });
}

/** What a reader of another program's configuration makes of each line; every line that says something has one. */
import type { Edit } from "../../control/edit.ts";

export interface Place {
  readonly file: string;
  /** 1-based. */
  readonly line: number;
}

export interface ImportedLine {
  readonly place: Place;
  /** The line, or the head of a block, without comments. */
  readonly text: string;
  /** What it comes to, in vsadm's terms. */
  readonly edits: readonly Edit[];
  /** In what it is not quite the same here. */
  readonly remarks: readonly string[];
  /** Why it has no counterpart. */
  readonly refusal?: string;
}

/** The file is not what it is said to be. */
export class ImportError extends Error {
  override readonly name = "ImportError";

  constructor({ file, line }: Place, found: string, wanted: string) {
    super(`Cannot read ${file}, line ${line}: ${found}, expected ${wanted}`);
  }
}

/** What IPVS's direct routing and tunnels become. */
export const AS_MASQUERADING =
  "becomes masquerading: the server has to answer through the director (its gateway), or give the service fullNat";

/**
 * The fast path as a whole. A packet goes through the stages from top to bottom and leaves at the first that does not
 * want it, untouched, to the slow path. Each stage is in a file of its own, for either family alike:
 *
 *   arrival → parse → look up → follow → account → rewrite → send
 *                        ↕
 *                      choose
 */
import { exit, label, mov, note, type Program } from "../asm/instruction.ts";
import { account } from "./account.ts";
import { arrival } from "./arrival.ts";
import { choose } from "./choose.ts";
import { PASS, SLOW_PATH } from "./context.ts";
import { follow } from "./follow.ts";
import { lookUp } from "./look-up.ts";
import { parse } from "./parse.ts";
import { type RewriteOptions, rewrite, send } from "./rewrite.ts";

export interface FastPathOptions extends RewriteOptions {
  /** Processors the machine may have. */
  readonly processorCount: number;
}

export const fastPath = (options: FastPathOptions): Program => [
  note("arrival"),
  ...arrival,
  ...([4, 6] as const).flatMap((family) => [
    note(`IPv${family}: parse`),
    ...parse(family),
    note("look up"),
    ...lookUp(family),
    note("follow"),
    ...follow(family),
    note("account"),
    ...account(family, options.processorCount),
    note("rewrite"),
    ...rewrite(family, options),
    note("send"),
    ...send(family),
    note("choose"),
    ...choose(family),
  ]),
  label(SLOW_PATH),
  mov("r0", PASS),
  exit,
];

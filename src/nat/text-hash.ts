/** A hash that the next process finds again: nobody's secret, for telling texts apart that the operator wrote. */
import { KeyedHash } from "../base/keyed-hash.ts";

/** Never 0. */
export function hashOfText(text: string): number {
  const hash = new KeyedHash(0, 0);
  hash.start();
  for (let at = 0; at < text.length; at++) hash.add(text.charCodeAt(at));
  return hash.finish() || 1;
}

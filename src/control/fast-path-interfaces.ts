/** At which interfaces the fast path is, at which it cannot be, and one line for the operator whenever that changes. */
import type { SystemCallError } from "../datapath/system-call.ts";

export interface FastPathInterface {
  readonly name: string;
  /** Why the kernel does not let it be there: "ERANGE"; absent: it is there. */
  readonly refusal?: string;
}

type Refusal = Pick<SystemCallError, "call" | "code">;

export class FastPathInterfaces {
  readonly #onMessage: (message: string, kind: "warning" | "note") => void;
  /** By index, which the kernel gives to no other interface soon. */
  #current: ReadonlyMap<number, FastPathInterface> | undefined;
  #lostCount = 0;

  constructor(onMessage: (message: string, kind: "warning" | "note") => void) {
    this.#onMessage = onMessage;
  }

  get status(): { readonly interfaces: readonly FastPathInterface[]; readonly lostInterfaces: number } {
    return { interfaces: [...(this.#current?.values() ?? [])], lostInterfaces: this.#lostCount };
  }

  /**
   * What is there now. Of the interfaces of the first time only refusals are worth a line.
   * @param refusals - of these interfaces, by index
   */
  update(
    wanted: readonly { readonly index: number; readonly name: string }[],
    refusals: ReadonlyMap<number, Refusal>,
  ): void {
    const before = this.#current;
    const now = new Map(
      wanted.map(({ index, name }) => {
        const refusal = refusals.get(index)?.code;
        return [index, { name, ...(refusal !== undefined && { refusal }) }] as const;
      }),
    );
    this.#current = now;
    for (const [index, { call, code }] of refusals) {
      if (before?.get(index)?.refusal === code) continue;
      const name = now.get(index)?.name ?? `interface ${index}`;
      this.#onMessage(
        `no fast path at ${name}, its packets take the slow path: ${call} answered ${code}`,
        "warning",
      );
    }
    if (before === undefined) return;
    const lost = attachedIn(before, now);
    const found = attachedIn(now, before);
    this.#lostCount += lost.length;
    for (const name of lost)
      if (!found.includes(name))
        this.#onMessage(`fast path no longer at ${name}: it is gone or down`, "note");
    for (const name of found)
      this.#onMessage(`fast path at ${name}${lost.includes(name) ? " again: it was replaced" : ""}`, "note");
  }
}

/** Names of interfaces where it is in one state of things and not in the other. */
const attachedIn = (
  one: ReadonlyMap<number, FastPathInterface>,
  other: ReadonlyMap<number, FastPathInterface>,
): string[] =>
  [...one].flatMap(([index, { name, refusal }]) => {
    const there = other.get(index);
    const isThere = there !== undefined && there.refusal === undefined;
    return refusal === undefined && !isThere ? [name] : [];
  });

/**
 * Calls of PPTP that were announced on a control connection: which entry has which IDs. Unlike a port, an ID may be 0, both
 * ends of a call have one, and a call that is going on does not give way to a new one.
 */
import type { ConnectionTable } from "../../nat/connection-table.ts";
import { ownCallId, shownCallId, type TunnelCalls } from "../../nat/tunnel-calls.ts";
import { opposite, type Side } from "./module.ts";

const ID_MAX = 0xffff;

export class AnnouncedCalls {
  readonly #table: ConnectionTable;
  readonly #calls: TunnelCalls;
  /** -1 where there is none. */
  readonly #records: Int32Array;

  constructor(table: ConnectionTable, calls: TunnelCalls, callsMax: number) {
    this.#table = table;
    this.#calls = calls;
    this.#records = new Int32Array(callsMax).fill(-1);
  }

  forget(): void {
    this.#records.fill(-1);
  }

  /**
   * This side gives a call its ID.
   * @param answers - the other side's own ID of it, if that one has said it
   * @returns how the ID is shown to the other side; -1: refused
   */
  give(control: number, side: Side, ownId: number, answers: number | undefined): number {
    if (ownId < 0 || ownId > ID_MAX) return -1;
    if (answers !== undefined) {
      const index = this.#indexOf(control, opposite(side), answers, -1);
      const isWhole = index >= 0 && this.#calls.answer(this.#records[index]!, side, ownId);
      return isWhole ? this.#calls.shownId : -1;
    }
    // The same ID again: whatever had it is over.
    this.end(control, side, ownId);
    const place = this.#freePlace(control);
    const record = place < 0 ? -1 : this.#calls.begin(control, side, ownId);
    if (record < 0) return -1;
    this.#records[place] = record;
    return this.#calls.shownId;
  }

  /** The ID that this side knows by itself, of the one it is shown under; -1: there is none. */
  ownIdOf(control: number, side: Side, shownId: number): number {
    const index = this.#indexOf(control, side, -1, shownId);
    return index < 0 ? -1 : ownCallId(this.#table, this.#records[index]!, side);
  }

  shownIdOf(control: number, side: Side, ownId: number): number {
    const index = this.#indexOf(control, side, ownId, -1);
    return index < 0 ? -1 : shownCallId(this.#table, this.#records[index]!, side);
  }

  /** The call with this side's ID is over. */
  end(control: number, side: Side, ownId: number): void {
    const index = this.#indexOf(control, side, ownId, -1);
    if (index >= 0) this.#calls.end(this.#records[index]!, control);
  }

  endAll(control: number): void {
    for (let index = 0; index < this.#records.length; index++)
      this.#calls.end(this.#records[index]!, control);
    this.forget();
  }

  /** @param ownId - or -1: by the shown one */
  #indexOf(control: number, side: Side, ownId: number, shownId: number): number {
    const table = this.#table;
    for (let index = 0; index < this.#records.length; index++) {
      const record = this.#records[index]!;
      if (!this.#calls.isCall(record, control)) continue;
      const shown = shownCallId(table, record, side);
      if (shown >= 0 && (ownId >= 0 ? ownCallId(table, record, side) === ownId : shown === shownId))
        return index;
    }
    return -1;
  }

  #freePlace(control: number): number {
    for (let index = 0; index < this.#records.length; index++)
      if (!this.#calls.isCall(this.#records[index]!, control)) return index;
    return -1;
  }
}

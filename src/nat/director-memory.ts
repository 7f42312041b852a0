/**
 * What a director leaves to the next one, in one piece of memory: which destination a number means, the Call-IDs that pin, how
 * far application modules have read, and the connection table, which comes last because its size is a setting.
 */
import { CallTable } from "./call-table.ts";
import { ConnectionTable } from "./connection-table.ts";
import { DestinationDirectory } from "./destination-directory.ts";
import { DialogueMarks } from "./dialogue-marks.ts";
import { type MemoryPart, partOf } from "./memory-part.ts";

const CALLS_AT = DestinationDirectory.bytes;
const MARKS_AT = CALLS_AT + CallTable.bytesFor();
/** Where the table begins: the rest has the same size in every memory of this version. */
export const TABLE_AT = MARKS_AT + DialogueMarks.bytes;

/** Parts of a director's memory. */
export interface DirectorMemory {
  readonly directory: MemoryPart;
  readonly calls: MemoryPart;
  readonly marks: MemoryPart;
  readonly table: MemoryPart;
}

/** Bytes that a director with so many connections needs. */
export const directorBytes = (connectionsMax: number): number =>
  TABLE_AT + ConnectionTable.bytesFor(connectionsMax);

/** @param whole - at least directorBytes(connectionsMax) bytes */
export const directorMemory = (whole: MemoryPart): DirectorMemory => ({
  directory: partOf(whole, 0, CALLS_AT),
  calls: partOf(whole, CALLS_AT, MARKS_AT - CALLS_AT),
  marks: partOf(whole, MARKS_AT, TABLE_AT - MARKS_AT),
  table: partOf(whole, TABLE_AT, whole.byteLength - TABLE_AT),
});

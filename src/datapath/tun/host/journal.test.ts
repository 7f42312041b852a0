import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { HostChange } from "./host-change.ts";
import { Journal, JournalBusyError, journaledDevices } from "./journal.ts";

const FORWARD: HostChange = { kind: "sysctl", path: "net/ipv4/ip_forward", value: "1", before: "0" };
const GROUP: HostChange = { kind: "link-group", device: "vs0", group: 7683 };

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vsnat-journal-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** A journal as a killed process leaves it: the file stays, the lock does not. */
function leave(edit: (path: string) => void): Journal {
  const journal = new Journal("vs0", directory);
  journal.willMake(FORWARD);
  journal.willMake(GROUP);
  const text = readFileSync(journal.path, "utf8");
  journal.wasUndone(FORWARD);
  journal.wasUndone(GROUP);
  journal.close();
  writeFileSync(journal.path, text);
  edit(journal.path);
  return new Journal("vs0", directory);
}

describe("journal", () => {
  it("leaves no file when there is nothing to undo", () => {
    const journal = new Journal("vs0", directory);
    journal.willMake(FORWARD);
    journal.wasUndone({ ...FORWARD, before: "1" }); // what was there before makes no difference
    expect(journal.made).toEqual([]);
    journal.close();
    expect(existsSync(journal.path)).toBe(false);
  });

  it("keeps what was made, in order, and its file", () => {
    const journal = leave(() => {});
    expect(journal.made).toEqual([FORWARD, GROUP]);
    expect(journaledDevices(directory)).toEqual(["vs0"]);
    journal.close();
    expect(existsSync(journal.path)).toBe(true);
  });

  it("does not trust a line cut short, and writes on behind the one before", () => {
    const journal = leave((path) => appendFileSync(path, '{"event":"undone","key":"'));
    expect(journal.made).toEqual([FORWARD, GROUP]);
    journal.wasUndone(FORWARD);
    journal.close();
    const next = new Journal("vs0", directory);
    expect(next.made).toEqual([GROUP]);
    next.close();
  });

  it.each(["boot", "namespace"])("starts anew when it is about another %s", (field) => {
    const another = new RegExp(`"${field}":"[^"]*"`);
    const journal = leave((path) =>
      writeFileSync(path, readFileSync(path, "utf8").replace(another, `"${field}":"another"`)),
    );
    expect(journal.made).toEqual([]);
    journal.close();
  });

  it("belongs to one at a time", () => {
    const journal = new Journal("vs0", directory);
    expect(() => new Journal("vs0", directory)).toThrow(JournalBusyError);
    new Journal("vs1", directory).close();
    journal.close();
    new Journal("vs0", directory).close();
  });
});

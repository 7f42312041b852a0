import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  addressOf, close, errnoName, eventfd, expectSuccess, open, POLLIN, poll, read, SystemCallError, write,
} from "./system-call.ts"; // biome-ignore format: one list

describe("system calls", () => {
  it("reads a file to the address it is given", () => {
    const buffer = new Uint8Array(4096);
    const file = expectSuccess(open("/proc/self/comm", 0), "open", "read the process name");
    const length = read(file, addressOf(buffer) + 100, 1000);
    expect(close(file)).toBe(0);
    expect(new TextDecoder().decode(buffer.subarray(100, 100 + length))).toBe(
      readFileSync("/proc/self/comm", "utf8"),
    );
  });

  it("returns the negative errno and never throws", () => {
    expect(open("/does/not/exist", 0)).toBe(-2);
    expect(close(-1)).toBe(-9);
    expect(read(-1, 0, 1)).toBe(-9);
  });

  it("gives a failing set-up call a name, an errno name and a purpose", () => {
    const attempt = () => expectSuccess(open("/does/not/exist", 0), "open", "read the settings");
    expect(attempt).toThrow(SystemCallError);
    expect(attempt).toThrow("Cannot read the settings: open answered ENOENT");
    expect(errnoName(77)).toBe("EBADFD");
    expect(errnoName(999)).toBe("errno 999");
  });

  it("polls an event counter", () => {
    const counter = expectSuccess(eventfd(), "eventfd", "make an event counter");
    const buffer = new Uint8Array(128);
    const view = new DataView(buffer.buffer);
    const at = addressOf(buffer);
    view.setInt32(0, counter, true);
    view.setInt16(4, POLLIN, true);
    expect(poll(at, 1, 0)).toBe(0);
    view.setUint8(64, 1);
    expect(write(counter, at + 64, 8)).toBe(8);
    expect(poll(at, 1, -1)).toBe(1);
    expect(view.getInt16(6, true)).toBe(POLLIN);
    expect(close(counter)).toBe(0);
  });
});

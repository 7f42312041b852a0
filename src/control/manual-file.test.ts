/** What is kept of changes by hand: exactly it comes back, and nothing that anybody else put there. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { seconds } from "../base/environment.ts";
import {
  MANUAL_FILE_BYTES_MAX,
  ManualFileError,
  manualFileOf,
  readManualFile,
  setAside,
  writeManualFile,
} from "./manual-file.ts";
import { type ManualLayer, NOTHING_MANUAL } from "./manual-layer.ts";

const SINCE = "2026-11-23T22:00:00.000Z";
const WEB = { protocol: "tcp", address: "203.0.113.1", port: 80 } as const;
const MANUAL: ManualLayer = {
  services: [
    {
      key: WEB,
      own: {
        kind: "changed",
        values: {
          scheduler: "sh",
          persistence: { timeout: seconds(300), netmask: "255.255.0.0" },
          removal: null,
        },
        since: SINCE,
      },
      servers: [
        { address: "10.0.0.1", port: 80, kind: "changed", values: { weight: 5 }, since: SINCE },
        { address: "10.0.0.2", port: 80, kind: "removed", since: SINCE },
        {
          address: "10.0.0.3",
          port: 80,
          kind: "added",
          values: { weight: 1, upperThreshold: 9, lowerThreshold: 0 },
          since: SINCE,
        },
      ],
    },
    {
      key: { protocol: "fwmark", address: "::", port: 0, mark: 7 },
      own: {
        kind: "added",
        values: { scheduler: "wlc", persistence: { timeout: seconds(9), engine: "sip" } },
        since: SINCE,
      },
      servers: [],
    },
    { key: { ...WEB, port: 81 }, own: { kind: "removed", since: SINCE }, servers: [] },
  ],
  timeouts: { tcp: 100, since: SINCE },
};

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vsnat-manual-"));
  path = manualFileOf(join(directory, "vsnat.sock"));
});
afterEach(() => rmSync(directory, { recursive: true }));

test("what is written is read, by its owner only; with nothing left there is no file", () => {
  expect(readManualFile(path)).toBeUndefined();
  writeManualFile(path, MANUAL);
  expect(readManualFile(path)).toEqual(MANUAL);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(["vsnat.manual.json"]);
  writeManualFile(path, { services: [], timeouts: { udp: 1, since: SINCE } });
  expect(readManualFile(path)).toEqual({ services: [], timeouts: { udp: 1, since: SINCE } });
  writeManualFile(path, NOTHING_MANUAL);
  writeManualFile(path, NOTHING_MANUAL);
  expect(readdirSync(directory)).toEqual([]);
});

test("a half-written file of a daemon that was killed is in nobody's way", () => {
  writeFileSync(`${path}.new`, "{");
  writeManualFile(path, MANUAL);
  expect(readManualFile(path)).toEqual(MANUAL);
});

const text = JSON.stringify({ version: "1", ...MANUAL });
const put = (content: string): void => writeFileSync(path, content, { mode: 0o600 });
const replaced = (from: string, to: string) => () => put(text.replace(from, to));

test.each<[string, () => void, RegExp]>([
  ["half a file", () => put(text.slice(0, 100)), /not JSON/],
  ["an empty file", () => put(""), /not JSON/],
  ["another version", replaced('"version":"1"', '"version":"2"'), /version: found "2", wanted/],
  ["null", () => put("null"), /found null/],
  ["a key too many", replaced('"services"', '"more":1,"services"'), /"more"/],
  ["a weight of text", replaced('"weight":5', '"weight":"5"'), /weight: found "5", wanted a number/],
  ["a scheduler that is absent", replaced('"scheduler":"sh"', '"scheduler":null'), /scheduler/],
  ["a kind there is not", replaced('"kind":"removed"', '"kind":"hidden"'), /services\[0\]/],
  ["an address in another spelling", replaced('"address":"::"', '"address":"0:0::"'), /0:0::/],
  ["an address of nobody", replaced("10.0.0.1", "10.0.0.256"), /10\.0\.0\.256/],
  ["a service twice", replaced('"port":81', '"port":80'), /there twice/],
  ["a server twice", replaced("10.0.0.2", "10.0.0.1"), /there twice/],
  ["a time that is none", replaced(SINCE, "yesterday"), /since/],
  ["a timeout beyond bounds", replaced('"tcp":100', '"tcp":0.5'), /a timeout is 0\.5/],
  ["a file that is too large", () => put(" ".repeat(MANUAL_FILE_BYTES_MAX + 1)), /bytes, wanted at most/],
  ["a file that others may write", () => { put(text); chmodSync(path, 0o622); }, /mode 0600/],
  ["a link", () => symlinkSync("/etc/passwd", path), /cannot be read \(ELOOP\)/],
  ["a directory", () => mkdirSync(path), /no regular file|EISDIR/],
])("%s is refused and can be put aside", (_, prepare, message) => {
  prepare();
  expect(() => readManualFile(path)).toThrow(ManualFileError);
  expect(() => readManualFile(path)).toThrow(message);
  setAside(path);
  expect(readdirSync(directory)).toEqual(["vsnat.manual.json.refused"]);
}); // biome-ignore format: a table

test("any bytes are read or refused, never more than that", () => {
  writeManualFile(path, MANUAL);
  const bytes = readFileSync(path);
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const broken = Buffer.from(bytes);
      broken[at] = value;
      writeFileSync(path, broken);
      try {
        readManualFile(path);
      } catch (error) {
        expect(error).toBeInstanceOf(ManualFileError);
      }
    }),
    { numRuns: 3000 },
  );
});

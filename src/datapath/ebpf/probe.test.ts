/** What the kernel's answers mean. */
import { expect, test } from "vitest";
import { SystemCallError } from "../system-call.ts";
import { ProgramRefusedError } from "./kernel/bpf.ts";
import { type Obstacle, obstacleOf, reasonOf } from "./probe.ts";

const EPERM = 1;
const ENOMEM = 12;
const EACCES = 13;
const EINVAL = 22;
const EMFILE = 24;
const ENOSYS = 38;
const refused = (errno: number, log = "") => new ProgramRefusedError(errno, log);
const failed = (errno: number) => new SystemCallError(errno, "bpf BPF_MAP_CREATE", "make the map flows");

test.each<[string, SystemCallError, Obstacle, RegExp]>([
  ["no capability", refused(EPERM), "no-privilege", /^it needs CAP_BPF and CAP_NET_ADMIN/],
  ["no eBPF at all", refused(ENOSYS), "kernel-too-old", /ENOSYS$/],
  ["a map of a kind not known", failed(EINVAL), "kernel-too-old", /EINVAL$/],
  ["no memory for maps", failed(ENOMEM), "no-memory", /ENOMEM$/],
  [
    "the verifier",
    refused(EACCES, "0: r0\nR1 is bad\nprocessed 9 insns"),
    "program-refused",
    /\(R1 is bad\)/,
  ],
  ["an instruction not known", refused(EINVAL), "program-refused", /^Cannot load the fast path: .* EINVAL$/],
  ["anything else", failed(EMFILE), "failed", /^Cannot make the map flows: .* EMFILE$/],
])("%s", (_, error, obstacle, reason) => {
  expect(obstacleOf(error)).toBe(obstacle);
  expect(reasonOf(error)).toMatch(reason);
  expect(reasonOf(error)).not.toContain("\n");
});

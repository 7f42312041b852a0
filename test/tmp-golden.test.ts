import { test } from "vitest";
import { destination as d, RecordedRun, readRecording, service, testDirector } from "./support/replayed.ts";

const V = "202.103.106.5",
  A = "172.16.0.2",
  B = "172.16.0.3";
const hex = (b: Uint8Array | undefined) =>
  b === undefined ? "-" : Buffer.from(b).toString("hex").slice(0, 200);
function show(name: string, run: RecordedRun) {
  run.run();
  const diff = run.differences();
  console.log(name, "made", run.made.length, "recorded", run.recorded.length, "diff", diff.length);
  for (const x of diff.slice(0, 40)) console.log(x.side, "\n made", hex(x.made), "\n reco", hex(x.recorded));
}
test("founding", () => {
  show(
    "founding",
    new RecordedRun(
      readRecording("test/golden/ipvs/founding", [V], [A, B]),
      testDirector([
        service("tcp", V, 80, "wrr", d(A, 80, 1), d(B, 8000, 2)),
        service("tcp", V, 21, "wrr", d(B, 21)),
      ]),
    ),
  );
});
test("states", () => {
  show(
    "states",
    new RecordedRun(
      readRecording("test/golden/ipvs/states", [V], [A, B]),
      testDirector([service("tcp", V, 80, "rr", d(A, 80, 1), d(B, 8000, 2))]),
    ),
  );
});
test("ipv6", () => {
  show(
    "ipv6",
    new RecordedRun(
      readRecording("test/golden/ipvs/ipv6", ["2001:db8:5::5"], ["fd00:16::2", "fd00:16::3"]),
      testDirector([
        service("tcp", "2001:db8:5::5", 80, "wrr", d("fd00:16::2", 80, 1), d("fd00:16::3", 8000, 2)),
      ]),
    ),
  );
});
test("icmp", () => {
  show(
    "icmp",
    new RecordedRun(
      readRecording("test/golden/ipvs/icmp", [V], [A, B]),
      testDirector([service("tcp", V, 80, "rr", d(A, 5353, 1)), service("udp", V, 53, "rr", d(A, 5353))]),
    ),
  );
});
test("udp", () => {
  show(
    "udp",
    new RecordedRun(
      readRecording("test/golden/ipvs/udp", [V], [A, B]),
      testDirector([service("udp", V, 53, "rr", d(A, 53, 1), d(B, 5353))]),
    ),
  );
});

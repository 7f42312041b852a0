/**
 * `npm run bench`: the core alone, layer by layer, in one process. What it costs in nanoseconds, heap and memory; the
 * datapath and the kernel are not in it (`npm run bench:net`), but for the fast path's program.
 */
import { parseArgs } from "node:util";
import { fastPathBenchmark } from "./datapath/fast-path.ts";
import { describeMachine, today, writeResult } from "./machine.ts";
import { connectionTableBenchmark, memoryBenchmark } from "./nat/connection-table.ts";
import { directorBenchmark } from "./nat/director.ts";
import { takeOverBenchmark } from "./nat/take-over.ts";
import { pickBenchmark } from "./schedulers/pick.ts";
import { table } from "./table.ts";
import { checksumBenchmark } from "./wire/checksum.ts";

const TABLE_BYTES_MAX = 128;
const TABLE_RATIO_MAX = 3;

const HELP = `Usage: npm run bench -- [options]

  --seconds N      measuring time of each figure (default 1)
  --out FILE       where the result goes; default bench/results/<date>-core.txt; "-" for nowhere`;

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "1" },
    out: { type: "string", default: `bench/results/${today()}-core.txt` },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
const seconds = Number(options.seconds);
if (!(seconds > 0)) {
  process.stderr.write(`--seconds is "${options.seconds}", expected a number above zero\n`);
  process.exit(2);
}

const parts: string[] = [];
const show = (part: string): void => {
  parts.push(part);
  console.log(`${part}\n`);
};
show(describeMachine().join("\n"));
// First, while the heap is small, so that the growth is the connections' alone.
const memory = memoryBenchmark();
show(memory.text);
const connections = connectionTableBenchmark();
show(connections.text);
show(takeOverBenchmark());
const director = directorBenchmark(seconds);
show(director.text);
show(checksumBenchmark(seconds));
show(pickBenchmark(seconds));
show(fastPathBenchmark());

const mark = (isReached: boolean): string => (isReached ? "reached" : "MISSED");
const { tableBytes } = memory;
const { ratio } = connections;
const { heapBytesMax } = director;
show(
  `Targets\n${table(
    ["", "wanted", "found", ""],
    [
      [
        "table bytes a connection",
        `<= ${TABLE_BYTES_MAX}`,
        tableBytes.toFixed(1),
        mark(tableBytes <= TABLE_BYTES_MAX),
      ],
      [
        "1 M entries / 1 k entries",
        `<= ${TABLE_RATIO_MAX}`,
        ratio.toFixed(2),
        mark(ratio <= TABLE_RATIO_MAX),
      ],
      ["heap bytes a packet", "0", `${heapBytesMax}`, mark(heapBytesMax === 0)],
    ],
  )}`,
);
if (options.out !== "-") writeResult(options.out, parts.join("\n\n"));

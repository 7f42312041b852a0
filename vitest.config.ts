import { defineConfig } from "vitest/config";

/**
 * Two projects: `unit` needs nothing but Node; `system` builds network namespaces and needs root.
 * System tests run one file at a time: two at a time take half as long, but what one of them times is then up to the other.
 */
export default defineConfig({
  test: {
    // Left to itself vitest keeps one processor free, which on two is half of them.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "test/**/*.test.ts"],
          exclude: ["test/system/**"],
          // Properties run 100,000 cases and more; on a busy machine that outlasts the default of 5 seconds.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "system",
          include: ["test/system/**/*.test.ts"],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

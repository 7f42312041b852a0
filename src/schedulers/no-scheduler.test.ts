import { expect, test } from "vitest";
import { SchedulerRig } from "../../test/contract/scheduler.ts";
import { noScheduler } from "./no-scheduler.ts";

test("picks nobody, however idle", () => {
  const it = new SchedulerRig(noScheduler, [1, 2]);
  expect(it.scheduler.name).toBe("none");
  expect(it.picks(3)).toBe("---");
});

import { expect, test } from "vitest";
import { destination, service, testDirector } from "../../test/support/replayed.ts";
import type { SchedulerFlag } from "../nat/configuration.ts";
import { DirectorControl } from "./director-control.ts";

test("changed scheduler flags are a changed scheduler; the same ones in another order are not", () => {
  const director = testDirector([]);
  const control = new DirectorControl(director);
  const servers = [destination("10.0.0.1", 80), destination("10.0.0.2", 80, 0)];
  const apply = (...schedulerFlags: SchedulerFlag[]) => {
    const changes = control.apply([{ ...service("tcp", "192.0.2.1", 80, "sh", ...servers), schedulerFlags }]);
    return changes.map(({ kind, subject }) => `${kind} ${subject}`);
  };
  const scheduler = () => director.services.all[0]!.scheduler;
  const flags = () => control.status().services[0]!.schedulerFlags;

  expect(apply("sh-port")).toEqual(["add tcp 192.0.2.1:80"]);
  expect(flags()).toEqual(["sh-port"]);
  const first = scheduler();
  expect(apply("sh-port", "sh-fallback")).toEqual(["edit tcp 192.0.2.1:80"]);
  expect(flags()).toEqual(["sh-port", "sh-fallback"]);
  const second = scheduler();
  expect(second).not.toBe(first);
  expect(apply("sh-fallback", "sh-port")).toEqual([]);
  expect(scheduler()).toBe(second);
  expect(apply()).toEqual(["edit tcp 192.0.2.1:80"]);
  expect(flags()).toBeUndefined();
  expect(scheduler()).not.toBe(second);
});

/** Endpoints in texts: what is one, and where it ends. */
import { expect, test } from "vitest";
import { addressAt, endpointAt } from "./endpoints.ts";

test.each<[string, string | undefined]>([
  ["192.0.2.1", "192.0.2.1 0 9"],
  ["192.0.2.1:5060;x", "192.0.2.1 5060 14"],
  ["192.0.2.1>", "192.0.2.1 0 9"],
  ["[2001:DB8:0::1]:554/film", "2001:db8::1 554 19"],
  ["[192.0.2.1]", "192.0.2.1 0 11"],
  ["192.0.2.01", undefined],
  ["192.0.2.256", undefined],
  ["192.0.2.1:65536", undefined],
  ["192.0.2.1:0", undefined],
  ["192.0.2.1:123456", undefined],
  ["192.0.2.1:x", undefined],
  ["192.0.2.1.2", undefined],
  ["192.0.2.1-2", undefined],
  ["192.0.2.1x", undefined],
  ["[2001:db8::1", undefined],
  ["[1:2:3]", undefined],
  ["2001:db8::1", undefined],
  ["host.example", undefined],
  ["", undefined],
])("endpoint %j", (text, wanted) => {
  const found = endpointAt(text, 0);
  expect(found && `${found.address} ${found.port} ${found.end}`).toBe(wanted);
});

test.each<[string, string | undefined]>([
  ["2001:db8::1;x", "2001:db8::1"],
  ["[2001:db8::1]", "2001:db8::1"],
  ["192.0.2.1", "192.0.2.1"],
  ["192.0.2.1:80", undefined],
  ["bad.example", undefined],
])("address %j", (text, wanted) => {
  expect(addressAt(text, 0)?.address).toBe(wanted);
});

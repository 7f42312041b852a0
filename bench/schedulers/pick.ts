/** Every scheduler of the registry: nanoseconds to pick one of 2, 16 and 256 destinations of unequal weights. */
import { milliseconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import type { DestinationConfig } from "../../src/nat/configuration.ts";
import { ConnectionTable } from "../../src/nat/connection-table.ts";
import { IPVS_DEFAULTS } from "../../src/nat/ipvs-settings.ts";
import { ServiceBook } from "../../src/nat/service-book.ts";
import { SourceAddresses } from "../../src/nat/source-addresses.ts";
import { SCHEDULERS } from "../../src/schedulers/registry.ts";
import { Flow, Protocol } from "../../src/wire/flow.ts";
import { three } from "../sample.ts";
import { table } from "../table.ts";
import { timing } from "../timing.ts";

const COUNTS = [2, 16, 256];

export function pickBenchmark(seconds: number): string {
  const rows = Object.keys(SCHEDULERS).map((name) => [
    name,
    ...COUNTS.map((count) => pickNs(name, count, seconds)),
  ]);
  return `schedulers, ns a pick\n${table(["", ...COUNTS.map((count) => `${count} destinations`)], rows)}`;
}

function pickNs(name: string, count: number, seconds: number): string {
  const now = () => milliseconds(0);
  const ipvs = () => IPVS_DEFAULTS;
  const randomU32 = seededRandom(1);
  const sources = new SourceAddresses(new ConnectionTable(16, [1, 2], 0), randomU32);
  const book = new ServiceBook(SCHEDULERS, { randomU32, now, ipvs }, sources);
  const destination = (index: number): DestinationConfig => ({
    address: `172.16.${index >> 8}.${index & 0xff}`,
    port: 80,
    weight: 1 + (index % 5),
    upperThreshold: 0,
    lowerThreshold: 0,
  });
  const destinations = Array.from({ length: count }, (_, index) => destination(index));
  const service = book.addService({
    protocol: "tcp",
    address: "202.103.106.5",
    port: 80,
    scheduler: name,
    destinations,
  });
  for (const config of destinations) book.addDestination(service, config);
  const flow = new Flow();
  flow.protocol = Protocol.tcp;
  const { ns } = timing((calls) => {
    for (let i = 0; i < calls; i++) {
      flow.words[0] = i;
      // Bound as the director binds, so that the schedulers that count see counts move.
      service.scheduler.pick(service.destinations, flow)!.bind();
    }
  }, seconds);
  return three(ns);
}

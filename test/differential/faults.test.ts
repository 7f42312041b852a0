/** What may go wrong with the fast path, and that packets do not care. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BpfMap } from "../../src/datapath/ebpf/kernel/bpf.ts";
import { Control, Flow, FlowKey } from "../../src/datapath/ebpf/maps/layout.ts";
import { whyNoFastPath } from "../../src/datapath/ebpf/probe.ts";
import { addressOf } from "../../src/datapath/system-call.ts";
import { tcp } from "../support/packet-builder.ts";
import { destination, service } from "../support/replayed.ts";
import { expectBytes } from "../support/same-bytes.ts";
import { Twins } from "../support/twins.ts";

const why = whyNoFastPath();
const VIP = "202.103.106.5";
const SERVICES = [service("tcp", VIP, 80, "rr", destination("172.16.0.2", 8000))];
const PASS = -1;
/** Index of the interface that every network namespace has. */
const LOOPBACK = 1;

describe.skipIf(why !== undefined)(`faults (${why ?? "eBPF is there"})`, () => {
  let twins: Twins;
  beforeEach(() => {
    twins = new Twins(SERVICES, { connectionsMax: 8 });
  });
  afterEach(() => twins.close());

  const toServer = (port: number, flags = "A"): Uint8Array =>
    tcp({ from: `202.100.1.2:${port}`, to: `${VIP}:80`, flags });
  const open = (port: number): void => {
    expect(twins.send(toServer(port, "S")).isFast).toBe(false);
  };
  /** A second hold on the flow map. */
  const flows = (): { map: BpfMap; key: Uint8Array; value: Uint8Array } => {
    const { descriptor, name, shape } = twins.cache.maps.flows;
    const map = new BpfMap(descriptor, name, shape);
    const [key, value] = [new Uint8Array(FlowKey.bytes + 64), new Uint8Array(Flow.bytes + 64)];
    map.aim(addressOf(key), addressOf(value));
    return { map, key, value };
  };

  test("the map is full: new connections take the slow path, and one line says so", () => {
    const { map, key } = flows();
    let result = 0;
    for (let number = 1; result >= 0; number++) {
      new DataView(key.buffer).setUint32(0, number);
      result = map.update();
    }
    for (const port of [1000, 1001]) {
      open(port);
      expect(twins.send(toServer(port)).isFast).toBe(false);
    }
    expect(twins.cache.status).toMatchObject({ connections: 0 });
    expect(twins.cache.status.refused).toBeGreaterThanOrEqual(2);
    expect(twins.warnings).toEqual([
      expect.stringMatching(/^the fast path takes no more connections for now \(E2BIG\)/),
    ]);
  });

  test("an interface that cannot be had is told of, and no obstacle for others", () => {
    const nowhere = 0x7fff_fff0;
    expect([...twins.cache.attach([nowhere, LOOPBACK])]).toEqual([
      [nowhere, expect.objectContaining({ call: "bpf BPF_LINK_CREATE", code: "ENODEV" })],
    ]);
    expect(twins.cache.status.devices).toEqual([LOOPBACK]);
    expect(twins.cache.attach([]).size).toBe(0);
    expect(twins.cache.status.devices).toEqual([]);
  });

  test("a destination without a way that it could take stays on the slow path", () => {
    twins.close();
    twins = new Twins(SERVICES, { connectionsMax: 8 }, 42, () => undefined);
    open(1000);
    expect(twins.send(toServer(1000)).isFast).toBe(false);
    expect(twins.cache.status).toMatchObject({ connections: 0, withoutWay: 2 });
    twins.expectSame();
  });

  test("the audit finds a packet that is wrong: its kind is switched off, and both packets are shown", () => {
    open(1000);
    expect(twins.send(toServer(1000)).isFast).toBe(true);
    // The to-server flow again, with a sum that does not fit its addresses.
    const { map, key, value } = flows();
    const view = new DataView(value.buffer);
    writeKey(key);
    expect(map.look()).toBeGreaterThanOrEqual(0);
    view.setUint16(Flow.at.addressDelta, view.getUint16(Flow.at.addressDelta) ^ 0x0101);
    expect(map.update()).toBeGreaterThanOrEqual(0);

    expect(() => twins.send(toServer(1000))).toThrow(/wanted/); // the two directors' packets differ indeed
    twins.fast.director.cached.catchUpChanges();
    expect(twins.warnings).toEqual([
      expect.stringMatching(
        /^fast path switched off for IPv4 TCP to the server: .* before 45[0-9a-f]+, fast path 45[0-9a-f]+, director 45/,
      ),
    ]);
    expect(twins.cache.status).toMatchObject({ mismatches: 1, classesOff: ["IPv4 TCP to the server"] });
    expect(twins.send(toServer(1000)).isFast).toBe(false);
    const answer = tcp({ from: "172.16.0.2:8000", to: "202.100.1.2:1000" });
    expect(twins.send(answer).isFast).toBe(true); // another kind
  });

  test("news that found no room: every connection is looked at", () => {
    open(1000);
    twins.send(toServer(1000));
    const control = new Int32Array(twins.cache.maps.control.memory);
    const seen: number[] = [];
    twins.cache.takeChanges(() => {});
    control[Control.at.lostNews / 4]!++;
    twins.cache.takeChanges((record) => seen.push(record));
    expect(seen).toEqual([0]);
    expect(twins.cache.status.lostNews).toBe(1);
  });

  test.each<[string, (frame: Uint8Array) => void]>([
    ["with a VLAN tag inside", (frame) => frame.set([0x81, 0x00], 12)],
    ["of another protocol", (frame) => frame.set([0x88, 0xcc], 12)],
    ["for another host's link-layer address", (frame) => frame.set([2, 0, 0, 0, 0, 1], 0)],
    ["for everybody", (frame) => frame.set([255, 255, 255, 255, 255, 255], 0)],
  ])("a frame %s is left alone", (_, change) => {
    open(1000);
    const packet = toServer(1000);
    const frame = new Uint8Array(14 + packet.length);
    frame.set([0x08, 0x00], 12);
    frame.set(packet, 14);
    change(frame);
    const { result, data } = twins.cache.program.run(frame);
    expect(result).toBe(PASS);
    expectBytes(data, frame);
  });
});

/** 202.100.1.2:1000 to 202.103.106.5:80, TCP over IPv4. */
function writeKey(key: Uint8Array): void {
  key.fill(0);
  key.set([202, 100, 1, 2], FlowKey.at.source);
  key.set([202, 103, 106, 5], FlowKey.at.destination);
  const view = new DataView(key.buffer);
  view.setUint16(FlowKey.at.sourcePort, 1000);
  view.setUint16(FlowKey.at.destinationPort, 80);
  key.set([6, 4], FlowKey.at.protocol);
}

import { expect, test } from "vitest";
import { bytes, fragment, udp } from "../../test/support/packet-builder.ts";
import { Packet } from "../wire/packet.ts";
import { MemoryDatapath } from "./memory-datapath.ts";

const datagram = (length: number) => udp({ from: "10.0.0.1:5", to: "10.0.0.2:7", payload: bytes(length) });

test("packets arrive in order and leave as copies", () => {
  const datapath = new MemoryDatapath();
  const packet = new Packet();
  expect(datapath.receive(packet)).toBe(false);
  for (const length of [1, 2]) expect(datapath.offer(datagram(length))).toBe(true);
  while (datapath.receive(packet)) {
    expect(datapath.transmit(packet)).toBe(true);
    packet.bytes.fill(0);
  }
  expect(datapath.take()).toEqual([datagram(1), datagram(2)]);
  expect(datapath.take()).toEqual([]);
});

test("a packet that came in fragments is cut again", () => {
  const datapath = new MemoryDatapath();
  const packet = new Packet();
  packet.load(datagram(3000));
  packet.fragmentBytesMax = 1500;
  expect(datapath.transmit(packet)).toBe(true);
  expect(datapath.take()).toEqual(fragment(datagram(3000), 1500));
});

test("what is no packet is refused, and so is one too many", () => {
  const datapath = new MemoryDatapath();
  expect(datapath.offer(new Uint8Array(70_000))).toBe(false);
  for (let i = 0; i < 4096; i++) datapath.offer(datagram(1));
  expect(datapath.offer(datagram(1))).toBe(false);
});

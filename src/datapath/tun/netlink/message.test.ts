import { describe, expect, it } from "vitest";
import { decodeAddress } from "./interface-address.ts";
import { decodeLink, setLink } from "./link.ts";
import { Attributes, addressToBytes, MESSAGE_HEADER_BYTES, MessageWriter, splitMessages } from "./message.ts";
import { addProxy, decodeProxy, type ProxyNeighbour } from "./proxy.ts";
import { addRoute, type DeviceRoute, decodeRoute } from "./route.ts";
import { addRule, decodeRule, type Rule } from "./rule.ts";

/** What the kernel would find behind the header of a request. */
const bodyOf = (writer: MessageWriter): DataView => splitMessages(writer.finish(7))[0]!.body;

describe("netlink messages", () => {
  it("frames a request and pads attributes to four bytes", () => {
    const bytes = new MessageWriter(24, 0x4)
      .u32(5)
      .attributeText(3, "vs0")
      .attributeU8(9, 1)
      .finish(0x01020304);
    expect(Buffer.from(bytes).toString("hex")).toBe(
      "24000000" +
        "1800" +
        "0500" +
        "04030201" +
        "00000000" +
        "05000000" +
        "0800030076733000" +
        "0500090001000000",
    );
  });

  it("splits what one receive brought and stops at a message longer than the rest", () => {
    const one = new MessageWriter(1, 0).u8(1, 2, 3).finish(1);
    const two = new MessageWriter(2, 0x2).u32(9).finish(2);
    const padded = new Uint8Array(((one.length + 3) & ~3) + two.length + MESSAGE_HEADER_BYTES);
    padded.set(one);
    padded.set(two, (one.length + 3) & ~3);
    padded[padded.length - MESSAGE_HEADER_BYTES] = 99;
    expect(
      splitMessages(padded).map(({ type, sequence, isMultipart }) => [type, sequence, isMultipart]),
    ).toEqual([
      [1, 1, false],
      [2, 2, true],
    ]);
  });

  it.each(Array.from({ length: 40 }, (_, length) => length))(
    "reads %i arbitrary bytes without harm",
    (length) => {
      for (const fill of [0, 1, 4, 5, 0xff]) {
        const body = new DataView(new Uint8Array(length).fill(fill).buffer);
        splitMessages(new Uint8Array(body.buffer));
        for (const decode of [decodeLink, decodeAddress, decodeRoute, decodeRule, decodeProxy])
          expect(() => decode(body)).not.toThrow();
      }
    },
  );

  it("ignores the nested and byte-order bits of an attribute's type", () => {
    const body = bodyOf(new MessageWriter(1, 0).attributeU32(0x8002, 1300));
    expect(new Attributes(body, 0).u32(2)).toBe(1300);
  });

  it("writes addresses in network order and refuses what is none", () => {
    expect([...addressToBytes("202.103.106.5")]).toEqual([202, 103, 106, 5]);
    expect([...addressToBytes("2001:db8::1")].slice(0, 4)).toEqual([0x20, 0x01, 0x0d, 0xb8]);
    expect(() => addressToBytes("vip")).toThrow('Cannot use "vip" as an IP address');
  });

  it("changes nothing of a link but its group", () => {
    const body = bodyOf(setLink(4, { group: 7683 }));
    expect(body.getInt32(4, true)).toBe(4);
    expect(body.getUint32(12, true)).toBe(0);
    expect(new Attributes(body, 16).u32(27)).toBe(7683);
  });
});

describe("what is added is read back the same", () => {
  const routes: DeviceRoute[] = [
    { family: 4, destination: "202.103.106.5", prefixLength: 32, table: 254, device: 3, protocol: 183 },
    { family: 6, destination: "2001:db8::5", prefixLength: 128, table: 254, device: 3, protocol: 183 },
    { family: 4, destination: "0.0.0.0", prefixLength: 0, table: 7683, device: 300, protocol: 183 },
    { family: 6, destination: "::", prefixLength: 0, table: 7683, device: 3, protocol: 183 },
  ];
  it.each(routes)("route $destination", (route) => {
    expect(decodeRoute(bodyOf(addRoute(route)))).toEqual({ ...route, type: "unicast" });
  });

  const rules: Rule[] = [
    {
      family: 4,
      priority: 1,
      action: "lookup",
      table: 254,
      inputDevice: "vs0",
      suppressGroup: 7683,
      protocol: 183,
    },
    { family: 6, priority: 2, action: "unreachable", table: 0, inputDevice: "vs0", protocol: 183 },
    { family: 4, priority: 3, action: "lookup", table: 7683, from: "172.16.0.2", protocol: 183 },
    { family: 6, priority: 3, action: "lookup", table: 7683, from: "fd00::2", protocol: 183 },
    {
      family: 4,
      priority: 3,
      action: "lookup",
      table: 7683,
      from: "172.16.0.0/24",
      inputDevice: "inside",
      protocol: 183,
    },
    {
      family: 6,
      priority: 3,
      action: "lookup",
      table: 7683,
      from: "fd00::/64",
      inputDevice: "inside",
      protocol: 183,
    },
    {
      family: 6,
      priority: 3,
      action: "lookup",
      table: 7683,
      inputDevice: "eth1",
      ipProtocol: 58,
      protocol: 183,
    },
  ];
  it.each(rules)("rule $priority of family $family", (rule) => {
    expect(decodeRule(bodyOf(addRule(rule)))).toEqual(rule);
  });

  const proxies: ProxyNeighbour[] = [
    { family: 4, address: "202.103.106.5", device: 2, protocol: 183 },
    { family: 6, address: "2001:db8::5", device: 2, protocol: 183 },
  ];
  it.each(proxies)("proxy $address", (proxy) => {
    expect(decodeProxy(bodyOf(addProxy(proxy)))).toEqual(proxy);
  });

  it("a rule with a firewall mark is none of ours", () => {
    const marked = addRule(rules[2]!).attributeU32(10, 1);
    expect(decodeRule(bodyOf(marked))).toBeUndefined();
  });
});

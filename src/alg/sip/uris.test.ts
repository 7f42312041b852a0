/** SIP's header values on their own, the awkward ones of RFC 4475 first. */
import { describe, expect, test } from "vitest";
import { parametersOf, urisOf, viasOf } from "./uris.ts";

describe("Via", () => {
  const read = (text: string) =>
    viasOf(text, 0, text.length).map(({ protocol, sentBy, parameters }) => [
      protocol,
      sentBy === undefined ? "-" : `${sentBy.address} ${sentBy.port}`,
      parameters.map(({ name, value }) => `${name}=${value}`).join(" "),
    ]);

  test.each<[string, string[][]]>([
    // RFC 4475 section 3.1.1.1
    ["SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw", [["udp", "192.0.2.2 0", "BRANCH=390skdjuw"]]],
    [
      "SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239",
      [
        ["tcp", "-", "BRANCH=z9hG4bK9ikj8"],
        ["udp", "192.168.255.111 0", "BRANCH=z9hG4bK30239"],
      ],
    ],
    // RFC 3581 section 4
    [
      "SIP/2.0/UDP 10.1.1.1:4540;received=192.0.2.1;rport=9988",
      [["udp", "10.1.1.1 4540", "RECEIVED=192.0.2.1 RPORT=9988"]],
    ],
    // RFC 5118 section 4.5
    [
      "SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111",
      [["udp", "2001:db8::9:1 0", "RECEIVED=[2001:db8::9:255] BRANCH=z9hG4bKas3-111"]],
    ],
    ["SIP/2.0/TLS 192.0.2.1;branch=x", []],
    ["SIP/2.0/UDP 192.0.2.1:99999", [["udp", "-", ""]]],
    ["SIP/2.0/UDP 192.0.2.1.example.org", [["udp", "-", ""]]],
  ])("%j", (text, wanted) => {
    expect(read(text)).toEqual(wanted);
  });
});

describe("URIs", () => {
  const read = (text: string) =>
    urisOf(text, 0, text.length).map(({ host, transport }) =>
      [host.address, host.port, transport, text.slice(host.at, host.end)].join(" "),
    );

  test.each<[string, string[]]>([
    ["sip:192.0.2.1", ["192.0.2.1 0  192.0.2.1"]],
    ["<sip:alice:secret@192.0.2.1:5070;transport=TCP;lr>;tag=1", ["192.0.2.1 5070 tcp 192.0.2.1:5070"]],
    ["<SIPS:%40x;isub=1@[2001:DB8::1]:5061>", ["2001:db8::1 5061  [2001:DB8::1]:5061"]],
    [
      '"a <sip:x@192.0.2.7>" <sip:b@192.0.2.1>, sip:192.0.2.2',
      ["192.0.2.7 0  192.0.2.7", "192.0.2.1 0  192.0.2.1", "192.0.2.2 0  192.0.2.2"],
    ],
    ["*", []],
    ["<sip:bob@example.org>", []],
    ["<tel:+1-555-192.0.2.1>", []],
    ["<sip:192.0.2.256>", []],
    ["<sip:192.0.2.1:0>", []],
    ["<sip:gossip:192.0.2.1>", []],
    ["<sip:sip:x@192.0.2.1>", ["192.0.2.1 0  192.0.2.1"]],
  ])("%j", (text, wanted) => {
    expect(read(text)).toEqual(wanted);
  });

  test("parameters inside of the brackets and behind them", () => {
    const [uri] = urisOf("<sip:a@192.0.2.1;maddr=192.0.2.2>;expires=60;q=0.5", 0, 50);
    expect(uri!.parameters.map(({ name, value }) => [name, value])).toEqual([
      ["MADDR", "192.0.2.2"],
      ["EXPIRES", "60"],
      ["Q", "0.5"],
    ]);
  });

  test("a list without end is cut, in time that grows with its length only", () => {
    const text = ";x=".repeat(20_000);
    expect(parametersOf(text, 0, text.length).length).toBeLessThanOrEqual(32);
    const many = "sip:1.2.3.4,".repeat(5000);
    expect(urisOf(many, 0, many.length)).toHaveLength(32);
  });
});

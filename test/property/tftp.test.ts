/** TFTP's requests through the director, as properties; see ../contract/application-module.ts. */
import { tftp as module } from "../../src/alg/tftp.ts";
import { describeModule } from "../contract/application-module.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";
import type { Place } from "../support/story.ts";

const said: Place["said"] = [
  ["client", "\0\x01pxelinux.0\0octet\0blksize\x001428\0tsize\x000\0"],
  ["client", "\0\x01pxelinux.0\0octet\0blksize\x001428\0tsize\x000\0"],
  ["client", "\0\x02upload\0netascii\0"],
  ["server", "\0\x05\0\x01File not found\0"],
  ["client", "\0\x04\0\x01"],
];

const served = (vip: string, server: string): Stage =>
  new Stage([{ ...service("udp", vip, 69, "rr", destination(server, 69)), app: "tftp" }]);

const PLACES: readonly Place[] = [
  {
    name: "a server behind the director",
    transport: "udp",
    stage: () => served("202.103.106.5", "172.16.0.3"),
    outside: ["202.100.1.2:34000", "202.103.106.5:69"],
    inside: ["202.100.1.2:34000", "172.16.0.3:69"],
    said,
  },
  {
    name: "one of IPv6",
    transport: "udp",
    stage: () => served("2001:db8:5::5", "fd00:16::3"),
    outside: ["[2001:db8:1::2]:34000", "[2001:db8:5::5]:69"],
    inside: ["[2001:db8:1::2]:34000", "[fd00:16::3]:69"],
    said,
  },
  {
    name: "a client behind the director",
    transport: "udp",
    stage: () => {
      const stage = new Stage([]);
      stage.apply([], { masquerade: [{ from: ["10.0.0.0/24"], sources: ["192.0.2.99"], apps: ["tftp"] }] });
      return stage;
    },
    outside: ["10.0.0.9:40000", "198.51.100.21:69"],
    inside: ["192.0.2.99:40000", "198.51.100.21:69"],
    said,
  },
];

describeModule(module, { places: PLACES });

/** PPTP control connections through the director, as properties; see ../contract/application-module.ts. */
import { pptp as module } from "../../src/alg/pptp.ts";
import type { ServiceConfig } from "../../src/nat/configuration.ts";
import { describeModule } from "../contract/application-module.ts";
import { tcp } from "../support/packet-builder.ts";
import { PptpMessage as Say } from "../support/pptp-messages.ts";
import { destination, service } from "../support/replayed.ts";
import { Stage } from "../support/stage.ts";
import type { Place } from "../support/story.ts";

const [VIP, SERVER, FAR] = ["202.103.106.5", "172.16.0.3", "198.51.100.7"];
const served: ServiceConfig = {
  ...service("tcp", VIP, 1723, "rr", destination(SERVER, 1723)),
  app: "pptp",
};

const START: Place["said"] = [
  ["client", Say.startRequest()],
  ["server", Say.startReply()],
];

/** With another control connection of the same two hosts, whose calls have the IDs that are given next. */
const PLACES: readonly Place[] = [
  {
    name: "a server behind the director",
    stage: () => new Stage([served]),
    outside: ["202.100.1.2:34000", `${VIP}:1723`],
    inside: ["202.100.1.2:34000", `${SERVER}:1723`],
    said: [
      ...START,
      ["client", Say.outgoingCallRequest(7) + Say.echoRequest()],
      ["server", Say.outgoingCallReply(0, 7)],
      ["client", Say.setLinkInfo(0)],
      // Another call with the same ID: it is shown as another.
      ["client", Say.outgoingCallRequest(8)],
      ["server", Say.outgoingCallReply(0, 8), Say.outgoingCallReply(1, 8)],
      ["client", Say.setLinkInfo(1), Say.setLinkInfo(0)],
      ["client", Say.callClearRequest(7)],
      ["server", Say.callDisconnectNotify(0)],
      ["client", Say.stopRequest()],
    ],
  },
  {
    name: "a client behind the director",
    stage: () => {
      const stage = new Stage([]);
      stage.apply([], { masquerade: [{ from: ["10.0.0.0/24"], sources: [VIP], apps: ["pptp"] }] });
      otherClientCalls(stage);
      return stage;
    },
    outside: ["10.0.0.9:40000", `${FAR}:1723`],
    inside: [`${VIP}:40000`, `${FAR}:1723`],
    said: [
      ...START,
      ["client", Say.outgoingCallRequest(7), Say.outgoingCallRequest(8)],
      ["server", Say.outgoingCallReply(3, 8), Say.outgoingCallReply(3, 7)],
      ["client", Say.setLinkInfo(3)],
      ["server", Say.wanErrorNotify(8) + Say.echoRequest(), Say.wanErrorNotify(7) + Say.echoRequest()],
      ["client", Say.callClearRequest(7), Say.callClearRequest(8)],
      ["server", Say.callDisconnectNotify(3)],
      ["client", Say.stopRequest()],
    ],
  },
];

/** Another client gives a call the same ID before. */
function otherClientCalls(stage: Stage): void {
  const [client, seen, far] = ["10.0.0.8:41000", `${VIP}:41000`, `${FAR}:1723`];
  const send = (isClient: boolean, flags: string, seq: number, text = ""): void => {
    const payload = Uint8Array.from(text, (one) => one.charCodeAt(0));
    const [from, to] = isClient ? [client, far] : [far, seen];
    stage.send(tcp({ from, to, flags, seq, ack: 1, payload }));
  };
  send(true, "S", 0);
  send(false, "SA", 0);
  send(true, "A", 1);
  send(true, "PA", 1, Say.startRequest());
  send(false, "PA", 1, Say.startReply());
  send(true, "PA", 157, Say.outgoingCallRequest(7));
  send(false, "PA", 157, Say.outgoingCallReply(2, 7));
}

describeModule(module, { places: PLACES, runs: 100 });

/**
 * MGCP: RFC 3435 sections 3.2 (commands, endpoint names, NotifiedEntity), 3.4 (session descriptions), 3.5.5 (several messages
 * in one datagram, a line with a dot between them). A call agent commands gateways, on UDP; either may be behind the director.
 *
 * A gateway's media come from other gateways, which nobody here knows: anyone may send to the ports that it announces in its
 * answers. A description in a command is somebody else's, and stays, unless it is the commanding host's own.
 * Left alone: names instead of addresses. Left out: media that a gateway deletes on its own account, or a whole endpoint's:
 * they end with the dialogue.
 */
import { addressAt, endpointAt, renamed, replaceAddress, replaceEndpoint } from "./endpoints.ts";
import type { ApplicationModule, Dialogue, Side } from "./engine/module.ts";
import type { Unit } from "./engine/unit.ts";
import { announceDescription, describesOwn } from "./sdp.ts";
import { forget, remember, sessionKey } from "./sessions.ts";

const GATEWAY_PORT = 2427;
const AGENT_PORT = 2727;
const EXPECTATIONS_MAX = 64;
/** Of one datagram. */
const MESSAGES_MAX = 16;
/** A gateway that said that it is there (RSIP) can be commanded for so long after whatever it said last. */
const PRESENCE_SECONDS = 3600;
/** Of a dialogue's memory. */
const IS_PRESENT = 1;

const COMMAND = /^([A-Z]{4}) \d{1,9} (\S{1,255}) MGCP 1\.0(?=\s|$)/i;
const ANSWER = /^(\d{3}) \d{1,9}(?=\s|$)/;
const HEADER = /^([A-Z\d/+-]{1,32}):[ \t]{0,8}([^\r\n]{0,512})/i;
const NAMES_ENDPOINT = new Set(["Z", "Z2"]);

export const mgcp: ApplicationModule = {
  name: "mgcp",
  transports: ["udp"],
  ports: [GATEWAY_PORT, AGENT_PORT],
  expectationsMax: EXPECTATIONS_MAX,
  read(unit, from, dialogue) {
    const text = unit.text();
    let at = 0;
    for (let k = 0; k < MESSAGES_MAX && at < text.length; k++) {
      const [end, next] = endOfMessage(text, at);
      readMessage(unit, text, at, end, from, dialogue);
      at = next;
    }
  },
};

/** Its end, and where the next one begins. */
function endOfMessage(text: string, at: number): [end: number, next: number] {
  for (let dot = text.indexOf("\n.", at); dot >= 0; dot = text.indexOf("\n.", dot + 1)) {
    const next = text[dot + 2] === "\r" ? dot + 3 : dot + 2;
    if (text[next] === "\n") return [dot + 1, next + 1];
  }
  return [text.length, text.length];
}

function readMessage(
  unit: Unit,
  text: string,
  at: number,
  end: number,
  from: Side,
  dialogue: Dialogue,
): void {
  const first = text.slice(at, endOfLine(text, at, end));
  const command = COMMAND.exec(first);
  const answer = command === null ? ANSWER.exec(first) : null;
  if (command === null && answer === null) return;
  const verb = command?.[1]?.toUpperCase();
  if (command !== null)
    renameDomain(
      unit,
      text,
      at + command[0].lastIndexOf(` ${command[2]!} `) + 1,
      command[2]!,
      from,
      dialogue,
    );
  if (from === "client") {
    if (verb === "RSIP") dialogue.memory = IS_PRESENT;
    if (dialogue.memory === IS_PRESENT) announcePresence(dialogue);
  }
  let connection = 0;
  let line = endOfLine(text, at, end);
  while (line < end) {
    const next = endOfLine(text, line, end);
    const header = HEADER.exec(text.slice(line, next));
    if (header === null) break;
    const name = header[1]!.toUpperCase();
    const value = header[2]!.trimEnd();
    const valueAt = line + header[0].length - header[2]!.length;
    if (NAMES_ENDPOINT.has(name)) renameDomain(unit, text, valueAt, value, from, dialogue);
    else if (name === "N") renameNotified(unit, text, valueAt, value, from, dialogue);
    else if (name === "I") connection = sessionKey(value.toUpperCase());
    line = next;
  }
  if (verb === "DLCX" && connection !== 0) forget(dialogue, connection, true);
  const description = { unit, text, at: line, end, from, dialogue };
  if (answer !== null ? !answer[1]!.startsWith("2") : !describesOwn(description)) return;
  announceDescription(description, "anyone", (port) => {
    if (connection !== 0) remember(dialogue, connection, from, port);
  });
}

/** "aaln/1@[10.0.0.2]": the gateway it is on. */
function renameDomain(
  unit: Unit,
  text: string,
  at: number,
  name: string,
  from: Side,
  dialogue: Dialogue,
): void {
  const sign = name.lastIndexOf("@");
  if (sign < 0) return;
  const found = addressAt(text, at + sign + 1);
  if (found?.end === at + name.length) replaceAddress(unit, found, from, dialogue);
}

/** "ca@[10.0.0.2]:2727": who is to be told, and where it listens. */
function renameNotified(
  unit: Unit,
  text: string,
  at: number,
  name: string,
  from: Side,
  dialogue: Dialogue,
): void {
  const found = endpointAt(text, at + name.lastIndexOf("@") + 1);
  if (found?.end !== at + name.length) return;
  const port = found.port || AGENT_PORT;
  if (found.address === dialogue.ownAddress(from) && port !== dialogue.ownPort(from))
    dialogue.listens(from, {
      protocol: "udp",
      port,
      address: found.address,
      isLasting: true,
      module: "mgcp",
      ...(from === "client" && { appearsFrom: dialogue.shownPort("server") }),
    });
  const to = renamed(dialogue, from, "udp", found.address, port);
  if (to !== undefined) replaceEndpoint(unit, found, to, AGENT_PORT);
}

/** It will be commanded where it speaks from. */
function announcePresence(dialogue: Dialogue): void {
  dialogue.listens("client", {
    protocol: "udp",
    port: dialogue.ownPort("client"),
    preferredPort: dialogue.shownPort("client"),
    appearsFrom: dialogue.shownPort("server"),
    isLasting: true,
    seconds: PRESENCE_SECONDS,
    module: "mgcp",
  });
}

function endOfLine(text: string, at: number, end: number): number {
  const feed = text.indexOf("\n", at);
  return feed < 0 || feed >= end ? end : feed + 1;
}

/**
 * Ident: RFC 1413. A server (IRC, SMTP, FTP) asks its client's host whose connection it has: the port there, its own port.
 * Where the director has another port than the real server, the client's host knows no such connection: the second number
 * becomes the virtual port, and back in the answer.
 *
 * For real servers that go out through a masquerade rule in the name of the virtual address. Left out: an ident server behind
 * a virtual address, asked about connections that went out by a rule, which nearly always keep their port.
 */
import { lineModule } from "./engine/line-module.ts";
import { DIALOGUE_WORDS, type Dialogue } from "./engine/module.ts";

/** "6193, 23", and behind an answer ": USERID : UNIX : joe" or ": ERROR : NO-USER". */
const QUERY = /^([ \t]*(\d{1,5})[ \t]*,[ \t]*)(\d{1,5})(?=[ \t]*\r?\n$)/;
const ANSWER = /^([ \t]*(\d{1,5})[ \t]*,[ \t]*)(\d{1,5})(?=[ \t]*:)/;
/** Of each question two words: the ports it is about, and the virtual port. */
const QUESTIONS_MAX = DIALOGUE_WORDS / 2;

export const ident = lineModule({
  name: "ident",
  ports: [113],
  expectationsMax: 0,
  rules: [
    { from: "client", lead: "", names: "own", read: query },
    { from: "server", lead: "", names: "other", read: answer },
  ],
});

function query(line: string, dialogue: Dialogue): string | undefined {
  const [all, lead = "", clientText, serverText] = QUERY.exec(line) ?? [];
  const [clientPort, serverPort] = [portOf(clientText), portOf(serverText)];
  if (all === undefined || clientPort === 0 || serverPort === 0) return undefined;
  const virtualPort = dialogue.virtualPortBetween(serverPort, clientPort);
  if (virtualPort === 0 || virtualPort === serverPort) return undefined;
  const index = dialogue.memory++ % QUESTIONS_MAX;
  dialogue.words[2 * index] = (clientPort << 16) | serverPort;
  dialogue.words[2 * index + 1] = virtualPort;
  return lead + virtualPort + line.slice(all.length);
}

function answer(line: string, dialogue: Dialogue): string | undefined {
  const [all, lead = "", clientText, virtualText] = ANSWER.exec(line) ?? [];
  const [clientPort, virtualPort] = [portOf(clientText), portOf(virtualText)];
  if (all === undefined || virtualPort === 0) return undefined;
  const { words } = dialogue;
  for (let index = 0; index < QUESTIONS_MAX; index++) {
    const ports = words[2 * index]!;
    if (ports >>> 16 !== clientPort || words[2 * index + 1] !== virtualPort) continue;
    words[2 * index + 1] = 0;
    return lead + (ports & 0xffff) + line.slice(all.length);
  }
  return undefined;
}

/** 1..65535; 0: none */
const portOf = (text: string | undefined): number => {
  const port = Number(text ?? 0);
  return port <= 65_535 ? port : 0;
};

/**
 * What `--set TCP TCPFIN UDP` changes, against Linux IPVS: entries made before and after it, one segment at a time. Each
 * line of the recording names the step and lists the entries, "protocol:client port state expires".
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Administered } from "../support/administered.ts";
import { tcp, udp } from "../support/packet-builder.ts";

const CLIENT = "202.100.1.2";
const VIP = "202.103.106.5";
const SERVER = "172.16.0.2";

/** One command with the connections around it: twelve lines. */
const PARTS = readFileSync(new URL("ipvs/timeouts/timeouts.txt", import.meta.url), "utf8")
  .trim()
  .split("\n\n");

class Run {
  readonly #director = new Administered();
  /** Of a connection and a flow from before; of new ones it counts up. */
  firstPort = 0;

  async begin(): Promise<void> {
    for (const [kind, port] of [
      ["-t", 80],
      ["-u", 53],
    ]) {
      await this.#director.vsadm(`-A ${kind} ${VIP}:${port} -s rr`);
      await this.#director.vsadm(`-a ${kind} ${VIP}:${port} -r ${SERVER}:${port} -m`);
    }
  }

  /** @param label - of the step, as recorded. @returns what is recorded of it */
  async step(label: string): Promise<string> {
    const [, side, flags] = /^new connection, ([cs]):(\w+)$/.exec(label) ?? [];
    if (label.startsWith("$ ipvsadm ")) return await this.#set(label.slice("$ ipvsadm ".length));
    if (side !== undefined) this.#segment(2, side, flags!);
    else if (label === "before") {
      this.#handshake(0);
      this.#datagram(1);
    } else if (label === "after one more packet of each") {
      this.#segment(0, "c", "A");
      this.#datagram(1);
    } else if (label === "another, closed by the server only") {
      this.#handshake(3);
      this.#segment(3, "s", "FA");
    } else if (label === "a new udp flow") this.#datagram(4);
    else expect(label).toBe("entries made before, untouched");
    return this.#entries;
  }

  /** Until every entry has gone. */
  wait(): void {
    this.#director.stage.run(1_000_000);
    expect(this.#entries).toBe("");
  }

  get #entries(): string {
    const entries = this.#director.stage.connections().map(({ protocol, state, client, expiresSeconds }) => ({
      port: client.port,
      text: `${protocol.toUpperCase()}:${client.port} ${state} ${expiresSeconds}`,
    }));
    return entries
      .sort((a, b) => a.port - b.port)
      .map(({ text }) => text)
      .join("; ");
  }

  async #set(command: string): Promise<string> {
    expect((await this.#director.vsadm(command)).status).toBe(0);
    return (await this.#director.vsadm("-L --timeout")).stdout.trim();
  }

  #handshake(index: number): void {
    this.#segment(index, "c", "S");
    this.#segment(index, "s", "SA");
    this.#segment(index, "c", "A");
  }

  #segment(index: number, side: string, flags: string): void {
    const client = `${CLIENT}:${this.firstPort + index}`;
    const ends = side === "c" ? { from: client, to: `${VIP}:80` } : { from: `${SERVER}:80`, to: client };
    this.#director.stage.send(tcp({ ...ends, flags }));
  }

  #datagram(index: number): void {
    const ends = { from: `${CLIENT}:${this.firstPort + index}`, to: `${VIP}:53` };
    this.#director.stage.send(udp({ ...ends, payload: "x" }));
  }
}

test("three times --set, and what every entry lives on from then", async () => {
  const run = new Run();
  await run.begin();
  expect(PARTS).toHaveLength(3);
  for (const part of PARTS) {
    const lines = part.split("\n");
    expect(lines).toHaveLength(12);
    run.firstPort = Number(/TCP:(\d+)/.exec(part)![1]);
    for (const line of lines) {
      const [, label, recorded] = /^(.*?) {2,}(.*)$/.exec(line)!;
      expect([label, await run.step(label!)]).toEqual([label, recorded]);
    }
    run.wait();
  }
});

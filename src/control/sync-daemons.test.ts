/** The daemons over the loopback interface, before a datapath thread that is played. */
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { IPVS_DEFAULTS } from "../nat/ipvs-settings.ts";
import type { DatapathThread } from "./datapath-thread.ts";
import { type SyncDaemonOptions, SyncDaemons } from "./sync-daemons.ts";
import { openReceiver, openSender, receiveBufferOf, sendBufferOf } from "./sync-socket.ts";

const LOOPBACK = networkInterfaces().lo?.some(({ family }) => family === "IPv4") ?? false;
const SEGMENT = { interface: "lo", group: "224.0.0.81", ttl: 1 } as const;

interface Asked {
  readonly method: string;
  readonly params: unknown;
}

/** A thread that writes down what it is asked; it answers `receiveSync` when it is let. */
class PlayedThread {
  readonly asked: Asked[] = [];
  onSyncMessage: (message: Uint8Array) => void = () => {};
  readonly #waiting: (() => void)[] = [];

  async request(method: string, params: unknown): Promise<unknown> {
    this.asked.push({ method, params });
    if (method === "receiveSync") await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return { master: { lostMessages: 0 }, backup: { faultyMessages: 1 } };
  }

  /** Messages of each batch received so far. */
  get batches(): number[] {
    const batches = this.asked.filter(({ method }) => method === "receiveSync");
    return batches.map(({ params }) => (params as { messages: Uint8Array[] }).messages.length);
  }

  async answerAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      this.#waiting.pop()!();
      await turn();
    }
  }
}

describe.skipIf(!LOOPBACK)("synchronisation daemons", () => {
  let daemons: SyncDaemons;
  afterEach(() => daemons.close());

  function played(): { thread: PlayedThread; lines: string[] } {
    const thread = new PlayedThread();
    const lines: string[] = [];
    daemons = new SyncDaemons(thread as unknown as DatapathThread, IPVS_DEFAULTS, (level, line) =>
      lines.push(`${level}: ${line}`),
    );
    return { thread, lines };
  }
  /** A port of our own, so that tests of two processes do not hear each other. */
  const port = 20_000 + (process.pid % 20_000);
  const options = (role: "master" | "backup"): SyncDaemonOptions => ({ ...SEGMENT, role, syncId: 3, port });

  test("what the thread makes goes to the group, and what comes from there to the thread", async () => {
    const { thread, lines } = played();
    await daemons.start(options("backup"));
    await daemons.start(options("master"));
    expect(thread.asked).toEqual([
      { method: "startSync", params: { role: "backup", syncId: 3, lengthMax: 65_507 } },
      { method: "startSync", params: { role: "master", syncId: 3, lengthMax: 65_507 } },
    ]);
    thread.onSyncMessage(Uint8Array.of(1, 2, 3));
    while (thread.batches.length === 0) await turn();
    expect(thread.asked.at(-1)).toEqual({
      method: "receiveSync",
      params: { messages: [Uint8Array.of(1, 2, 3)] },
    });
    expect(lines).toHaveLength(2);
    expect((await daemons.list()).map(({ role, lostAtSocket }) => `${role} ${lostAtSocket}`)).toEqual([
      "backup 0",
      "master 0",
    ]);
    await thread.answerAll();
  });

  test("while the thread is busy no more than 4096 messages wait, and it gets them in small batches", async () => {
    const { thread, lines } = played();
    await daemons.start(options("backup"));
    const sender = await openSender({ ...SEGMENT, address: "127.0.0.1", family: 4, port });
    // One at a time, so that the system's buffer is never full: the first is taken, 4096 wait, the rest is lost.
    let heardCount = 0;
    for (let count = 0; count < 4200; count += 50) {
      const sent = Array.from(
        { length: 50 },
        () => new Promise((resolve) => sender.send(Uint8Array.of(1), resolve)),
      );
      await Promise.all(sent);
      for (let turns = 0; turns < 20; turns++) await turn();
      heardCount = count + 50;
    }
    const lost = async (): Promise<number> => (await daemons.list())[0]!.lostAtSocket;
    while ((await lost()) < heardCount - 1 - 4096) await turn();
    expect(await lost()).toBe(heardCount - 1 - 4096);
    expect(thread.batches).toEqual([1]);
    expect(lines.filter((line) => line.startsWith("warning"))).toHaveLength(1);
    await thread.answerAll();
    expect(thread.batches).toEqual([1, ...new Array(256).fill(16)]);
    sender.close();
    await once(sender, "close");
  });

  test.each([
    ["an interface that does not exist", { interface: "nowhere" }, "ENODEV"],
    ["a group that is none", { group: "10.0.0.1" }, "EINVAL"],
    ["a group that is no address", { group: "all" }, "EINVAL"],
  ])("refused, with a reason: %s", async (_, wrong, code) => {
    const { thread } = played();
    await expect(daemons.start({ ...options("master"), ...wrong })).rejects.toMatchObject({ code });
    expect(thread.asked).toEqual([]);
  });

  test("sync_qlen_max: what may not wait is lost; it changes while the daemon runs", async () => {
    const { thread, lines } = played();
    await daemons.start(options("master"));
    const lost = async (): Promise<number> => (await daemons.list())[0]!.lostAtSocket;
    thread.onSyncMessage(Uint8Array.of(1));
    expect(await lost()).toBe(0);
    daemons.configure({ ...IPVS_DEFAULTS, sync_qlen_max: 0 });
    for (let count = 0; count < 3; count++) thread.onSyncMessage(Uint8Array.of(1));
    expect(await lost()).toBe(3);
    expect(lines.filter((line) => line.includes("the master cannot send"))).toHaveLength(1);
  });

  test("sync_sock_size: the system's buffers, and back to their own size", async () => {
    daemons = new SyncDaemons(new PlayedThread() as unknown as DatapathThread, IPVS_DEFAULTS, () => {});
    const segment = { ...SEGMENT, address: "127.0.0.1", family: 4, port } as const;
    const [sender, receiver] = [await openSender(segment), await openReceiver(segment)];
    const sizes = () => [sender.getSendBufferSize(), receiver.getRecvBufferSize()];
    const resizes = [sendBufferOf(sender), receiveBufferOf(receiver)];
    for (const resize of resizes) resize(0);
    const own = sizes();
    for (const resize of resizes) resize(16_384);
    expect(sizes()).toEqual([2 * 16_384, 2 * 16_384]); // Linux shows twice what was asked for
    for (const resize of resizes) resize(0);
    expect(sizes()).toEqual(own);
    sender.close();
    receiver.close();
  });

  test("one daemon a role; it can be started again", async () => {
    played();
    await expect(daemons.stop("master")).rejects.toMatchObject({ code: "ESRCH" });
    await daemons.start({ ...options("master"), maxLength: 1 });
    expect((await daemons.list())[0]?.maxLength).toBe(381);
    await expect(daemons.start(options("master"))).rejects.toMatchObject({ code: "EEXIST" });
    await daemons.stop("master");
    expect(await daemons.list()).toEqual([]);
    await daemons.start(options("master"));
  });
});

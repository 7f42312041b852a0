/**
 * The daemon that runs already, as the one that is to take over from it sees it (`vsnat run --handover`). Everything that
 * takes time is done before: from the moment on when it moves no more packets they wait in the device's queue, whose
 * descriptor is taken from its process (pidfd_getfd(2)), so that none is lost.
 */
import { type IncomingMessage, request } from "node:http";
import { close, pidfdGetfd, pidfdOpen } from "../datapath/system-call.ts";
import { DaemonError } from "./daemon-error.ts";
import type { SyncDaemonOptions } from "./sync-daemons.ts";

/** POST /v1/handover */
export interface Estate {
  readonly pid: number;
  /** Of the TUN device, in that process. */
  readonly descriptor: number;
}

const END_TRIES = 500;
const END_WAIT_MS = 20;

export class Predecessor {
  readonly device: string;
  /** Synchronisation with other directors, to go on with. */
  readonly syncDaemons: readonly SyncDaemonOptions[];
  readonly #socketPath: string;
  #pid = 0;

  private constructor(socketPath: string, device: string, syncDaemons: readonly SyncDaemonOptions[]) {
    this.#socketPath = socketPath;
    this.device = device;
    this.syncDaemons = syncDaemons;
  }

  /** @returns undefined when nobody answers there. @throws DaemonError when it is an older version, or none of ours */
  static async find(socketPath: string): Promise<Predecessor | undefined> {
    let settings: { readonly host: { readonly device: string } };
    try {
      settings = await get(socketPath, "/v1/settings");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ECONNREFUSED") return undefined;
      throw error;
    }
    const sync = await get<{ readonly daemons: readonly SyncDaemonOptions[] }>(
      socketPath,
      "/v1/sync-daemons",
    );
    return new Predecessor(socketPath, settings.host.device, sync.daemons);
  }

  /**
   * Have it stop moving packets and give everything up.
   * @returns its device's descriptor, ours now; undefined where the system does not allow that: it has ended then
   */
  async take(): Promise<number | undefined> {
    const response = await send(this.#socketPath, "POST", "/v1/handover", { pid: process.pid });
    try {
      const { pid, descriptor } = await read<Estate>(response);
      this.#pid = pid;
      const pidfd = pidfdOpen(pid);
      const taken = pidfd < 0 ? pidfd : pidfdGetfd(pidfd, descriptor);
      if (pidfd >= 0) close(pidfd);
      if (taken >= 0) return taken;
    } finally {
      response.socket.destroy(); // it waits for that
    }
    await this.ended();
    return undefined;
  }

  /** Until its process is gone, and with it its hold on the control socket. */
  async ended(): Promise<void> {
    for (let tries = 0; tries < END_TRIES && isAlive(this.#pid); tries++)
      await new Promise((resolve) => setTimeout(resolve, END_WAIT_MS));
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const get = async <T>(socketPath: string, path: string): Promise<T> =>
  read(await send(socketPath, "GET", path));

function send(socketPath: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  const headers = { host: "vsnat", ...(body !== undefined && { "content-type": "application/json" }) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers, agent: false }, resolve);
    outgoing.once("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function read<T>(response: IncomingMessage): Promise<T> {
  let text = "";
  for await (const piece of response.setEncoding("utf8")) text += piece;
  if (response.statusCode === 200) return JSON.parse(text) as T;
  const why = response.statusCode === 404 ? "it is of a version that cannot" : text;
  throw new DaemonError(`The running vsnat does not hand over: ${why}`);
}

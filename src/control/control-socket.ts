/** Where the daemon and its commands meet: a unix socket only its owner may use. */
import { chmodSync, existsSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { runtimeDirectory } from "../datapath/tun/host/runtime-directory.ts";

const SYSTEM_SOCKET = "/run/vsnat/vsnat.sock";

/** Another daemon answers there, or something that is no socket is in the way. */
export class ControlSocketError extends Error {
  override readonly name = "ControlSocketError";
}

/**
 * VSNAT_SOCKET, else the configuration's, else vsnat.sock beside the host journal: /run/vsnat, or a folder of the
 * user's own where that may not be made.
 */
export const controlSocketPath = (configured?: string): string =>
  process.env.VSNAT_SOCKET || configured || join(runtimeDirectory(), "vsnat.sock");

/** The same for a command: the system's daemon comes first, also for a user who has a folder of his own. */
export const commandSocketPath = (): string =>
  process.env.VSNAT_SOCKET || (existsSync(SYSTEM_SOCKET) ? SYSTEM_SOCKET : controlSocketPath());

/**
 * Make the path free for listening: its folder is made, a socket that a dead daemon left is removed.
 * @throws ControlSocketError
 */
export async function claimControlSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new ControlSocketError(`Cannot listen on ${path}: it exists and is not a socket`);
  if (await isAnswering(path)) {
    throw new ControlSocketError(
      `Cannot listen on ${path}: another vsnat is running there; stop it, or give this one another VSNAT_SOCKET`,
    );
  }
  unlinkSync(path);
}

/** Run `listen` so that the socket it makes is nobody else's to use, not even for a moment. */
export async function listenPrivately(path: string, listen: () => Promise<unknown>): Promise<void> {
  const before = process.umask(0o177);
  try {
    await listen();
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

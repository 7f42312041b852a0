/** The commands' side of the control socket. */
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { commandSocketPath } from "../control/control-socket.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";

/** The daemon understood the question and says no. */
export class DaemonRefusal extends CommandFailure {
  /** The API's code: "bad-request", "ESRCH", ... */
  readonly code: string;

  constructor(code: string, message: string) {
    const isInput = code === "bad-request" || code === "bad-filter" || code === "bad-configuration";
    super(message, isInput ? ExitCode.usage : ExitCode.failure);
    this.code = code;
  }
}

/**
 * Ask the daemon.
 * @param body - sent as JSON
 * @throws CommandFailure: nobody answers; DaemonRefusal: the daemon refuses.
 */
export async function ask<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, body);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  if ((response.statusCode ?? 500) >= 400) throw refusal(text);
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/**
 * Open a stream of JSON lines. @returns its values, until the daemon ends it or the caller stops reading, once the daemon
 * has begun.
 */
export async function openStream<T>(path: string): Promise<AsyncGenerator<T>> {
  const response = await send("GET", path);
  if (response.statusCode === 200) return values<T>(response);
  let text = "";
  for await (const chunk of response) text += chunk;
  throw refusal(text);
}

async function* values<T>(response: IncomingMessage): AsyncGenerator<T> {
  try {
    for await (const line of createInterface({ input: response }))
      if (line !== "") yield JSON.parse(line) as T;
  } finally {
    response.destroy(); // hang up, so that the daemon stops tracing
  }
}

function refusal(text: string): CommandFailure {
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } };
    return new DaemonRefusal(error.code, error.message);
  } catch {
    return new CommandFailure(`The daemon's answer is not understood: ${text.slice(0, 200)}`);
  }
}

function send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  const socketPath = commandSocketPath();
  const headers = { host: "vsnat", ...(body !== undefined && { "content-type": "application/json" }) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, headers }, resolve);
    outgoing.once("error", (error: NodeJS.ErrnoException) => reject(unreachableDaemon(error, socketPath)));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function unreachableDaemon(error: NodeJS.ErrnoException, path: string): Error {
  if (error.code === "EACCES" || error.code === "EPERM") {
    return new CommandFailure(
      `Cannot use ${path}: it belongs to another user; run this as the daemon's user`,
      ExitCode.failure,
      { cause: error },
    );
  }
  const isNobodyThere = error.code === "ENOENT" || error.code === "ECONNREFUSED";
  if (!isNobodyThere)
    return new CommandFailure(`The daemon hung up: ${error.message}`, ExitCode.failure, { cause: error });
  const message = `No daemon answers on ${path}; start one with "vsnat run", or set VSNAT_SOCKET to where it is`;
  return new CommandFailure(message, ExitCode.notRunning, { cause: error });
}

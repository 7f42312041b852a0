/**
 * A laboratory of network namespaces, veth pairs and programs, for the demo, the system tests and the benchmarks.
 *
 * Nothing of it ever appears in the host's own namespace: links are created inside the namespaces they join. Names
 * begin with `vsnat-<process id>-<random>`, so laboratories never meet, and one whose owner died is recognised. Each
 * laboratory has a guardian, a shell that waits for the end of a pipe we hold: whatever ends this process, SIGKILL
 * included, the guardian then kills the programs in these namespaces and removes them.
 *
 * Needs root and `ip` of iproute2. It leaves out: user namespaces, VLANs, traffic shaping.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program, type ProgramEnd, type ProgramOptions } from "./program.ts";

/** $1: prefix of the namespaces, $2 and $3: the laboratory's directories. */
const GUARDIAN = `
cat >/dev/null
for name in $(ip netns list | cut -d' ' -f1 | grep "^$1-"); do
  for pid in $(ip netns pids "$name"); do kill -9 "$pid"; done
  ip netns delete "$name"
done
umount "$3/bpf" 2>/dev/null
rm -rf "$2" "$3"
`;

const NAME = /^vsnat-(\d+)-[0-9a-f]{4}-\S+/;

export class Laboratory {
  /** First part of every namespace's name. */
  readonly prefix: string;
  /** A private directory for configuration files, sockets and captures; removed with the laboratory. */
  readonly directory: string;
  /** Another one, in memory where there is shared memory, for what daemons keep at run time. */
  readonly runtimeDirectory: string;
  readonly #guardian: ChildProcess;
  readonly #programs = new Set<Program>();
  #isClosing = false;

  private constructor(prefix: string, directory: string, runtimeDirectory: string) {
    this.prefix = prefix;
    this.directory = directory;
    this.runtimeDirectory = runtimeDirectory;
    // A session of its own, so that Ctrl-C reaches this process and not the guardian; unref, so that the guardian
    // does not keep this process alive.
    const stdio = ["pipe", "ignore", "ignore"] as const;
    this.#guardian = spawn("sh", ["-c", GUARDIAN, "sh", prefix, directory, runtimeDirectory], {
      detached: true,
      stdio: [...stdio],
    });
    this.#guardian.unref();
    (this.#guardian.stdin as unknown as { unref(): void }).unref();
  }

  static async create(): Promise<Laboratory> {
    const prefix = `vsnat-${process.pid}-${randomBytes(2).toString("hex")}`;
    const directory = await mkdtemp(join(tmpdir(), `${prefix}-`));
    const memory = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
    return new Laboratory(prefix, directory, await mkdtemp(join(memory, `${prefix}-run-`)));
  }

  /** Namespaces of laboratories whose owner is gone; normally none, as guardians remove them. */
  static async leftovers(): Promise<string[]> {
    return (await namespaceNames()).filter((name) => !existsSync(`/proc/${NAME.exec(name)?.[1]}`));
  }

  /** A new namespace with loopback up and IPv6 addresses usable at once (no duplicate address detection). */
  async namespace(role: string): Promise<Namespace> {
    const namespace = new Namespace(`${this.prefix}-${role}`, role, (...what) => this.#start(...what));
    await this.#start(["ip", "netns", "add", namespace.name]).result();
    await namespace.sysctl({
      "net.ipv6.conf.default.accept_dad": 0,
      "net.ipv6.conf.default.router_solicitations": 0,
    });
    await namespace.ip("link set lo up");
    return namespace;
  }

  /** Join two namespaces by a veth pair; both ends are up. */
  async link(a: LinkEnd, b: LinkEnd): Promise<void> {
    const command = ["ip", "link", "add", a.device, "netns", a.namespace.name, "type", "veth"];
    await this.#start([...command, "peer", "name", b.device, "netns", b.namespace.name]).result();
    await Promise.all([a, b].map(({ namespace, device }) => namespace.ip(`link set dev ${device} up`)));
  }

  /** Stop every program, newest first, and remove everything. Fails if something is still there afterwards. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const program of [...this.#programs].reverse()) await program.stop();
    const gone = once(this.#guardian, "exit");
    this.#guardian.ref();
    this.#guardian.stdin?.end();
    await gone;
    const left = (await namespaceNames()).filter((name) => name.startsWith(`${this.prefix}-`));
    if (left.length > 0)
      throw new Error(`Cannot remove the namespaces ${left.join(", ")}: still listed by ip netns`);
  }

  #start(command: readonly string[], options?: ProgramOptions): Program {
    // Whoever still builds while the laboratory is being closed must not make what nobody would remove.
    if (this.#isClosing) throw new Error(`Cannot run ${command.join(" ")}: the laboratory is being closed`);
    const program = new Program(command, options);
    this.#programs.add(program);
    void program.ended.then(() => this.#programs.delete(program));
    return program;
  }
}

export interface LinkEnd {
  readonly namespace: Namespace;
  readonly device: string;
}

type StartProgram = (command: readonly string[], options?: ProgramOptions) => Program;

/** One host of the laboratory. */
export class Namespace {
  /** As `ip netns` lists it. */
  readonly name: string;
  /** What it plays: "client", "director", ... */
  readonly role: string;
  readonly #start: StartProgram;

  constructor(name: string, role: string, start: StartProgram) {
    this.name = name;
    this.role = role;
    this.#start = start;
  }

  /** Start a program inside; it is stopped with the laboratory at the latest. */
  start(command: readonly string[], options?: ProgramOptions): Program {
    return this.#start(["ip", "netns", "exec", this.name, ...command], options);
  }

  /** Run a program inside to its end and insist on exit code 0. */
  run(command: readonly string[], options?: ProgramOptions): Promise<ProgramEnd> {
    return this.start(command, options).result(options?.timeoutMs);
  }

  /** Run a program inside to its end, whatever its exit code. */
  attempt(command: readonly string[], options?: ProgramOptions): Promise<ProgramEnd> {
    return this.start(command, options).end(options?.timeoutMs);
  }

  /** Several `ip` commands in one call, without the word `ip`: `namespace.ip("link set eth0 up", ...)`. */
  async ip(...commands: readonly string[]): Promise<void> {
    const input = `${commands.join("\n")}\n`;
    await this.#start(["ip", "-n", this.name, "-batch", "-"], { input }).result();
  }

  /**
   * Make a device behave like a plain network card: every packet at most one MTU, with its full checksum, computed by
   * the sender and verified by the receiver. By default veth hands over super-packets with unfinished checksums.
   * Needs ethtool.
   */
  async turnOffloadsOff(device: string): Promise<void> {
    const features = ["rx", "tx", "sg", "tso", "gso", "gro"].flatMap((name) => [name, "off"]);
    await this.run(["ethtool", "-K", device, ...features]);
  }

  /** Set kernel parameters of this namespace, by their sysctl names. */
  async sysctl(settings: Readonly<Record<string, number | string>>): Promise<void> {
    const lines = Object.entries(settings).map(
      ([name, value]) => `echo '${value}' > /proc/sys/${name.replaceAll(".", "/")}`,
    );
    await this.run(["sh", "-ec", lines.join("\n")]);
  }
}

async function namespaceNames(): Promise<string[]> {
  const { stdout } = await new Program(["ip", "netns", "list"]).result();
  return stdout.split("\n").flatMap((line) => NAME.exec(line)?.[0] ?? []);
}

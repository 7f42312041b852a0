/**
 * The only door to libc. Two kinds of functions:
 *
 * - Plain ones (`read`, `write`, `poll`, ...) return what the call returned, or the negative errno. They neither throw
 *   nor allocate, so the packet loop can use them.
 * - `expectSuccess` turns such a result into a `SystemCallError` where failing is exceptional: in set-up.
 *
 * Memory is passed as an address (a number), got once from `addressOf`. Measured on Linux 6.18, Node 20, koffi 3.3, one
 * `read` of 64 bytes from /dev/zero: 400 ns with an address, 430 ns with a typed array, 490 ns with a typed array plus a
 * fresh `subarray`; an empty call costs 260 ns. An address also reaches any offset by addition.
 *
 * Constants are those shared by x86-64, arm64 and riscv64.
 */
import koffi from "koffi";

/** Where a byte lies in memory. User addresses are below 2^48, so a double holds them exactly. */
export type Address = number;

export const O_RDWR = 0o2;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

export const POLLIN = 0x1;

const PROT_READ = 0x1;
const PROT_WRITE = 0x2;
const MAP_SHARED = 0x1;
/** The same number on all architectures. */
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const numbers: Readonly<Record<string, number>> = koffi.os.errno;
/** Second names of EAGAIN, EDEADLK and EOPNOTSUPP. */
const ALIASES = ["EWOULDBLOCK", "EDEADLOCK", "ENOTSUP"];
const names = new Map(
  Object.entries(numbers).flatMap(([name, number]) => (ALIASES.includes(name) ? [] : [[number, name]])),
);

/** Errno values the callers here decide by. */
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EBUSY = 16;
export const EINVAL = 22;
export const EBADFD = 77;
export const EOPNOTSUPP = 95;

/** "ENOENT" for 2; "errno 999" for a number without a name. */
export const errnoName = (errno: number): string => names.get(errno) ?? `errno ${errno}`;

/** A system call that had to work did not. */
export class SystemCallError extends Error {
  /** Name of the errno: "EPERM". */
  readonly code: string;
  /** Name of the call, with its request where that says more: "ioctl TUNSETIFF". */
  readonly call: string;
  readonly detail: string;

  /**
   * @param errno - positive.
   * @param detail - what was attempted, as a clause: "create the TUN device vs0".
   */
  constructor(errno: number, call: string, detail: string) {
    const code = errnoName(errno);
    super(`Cannot ${detail}: ${call} answered ${code}`);
    this.name = "SystemCallError";
    this.code = code;
    this.call = call;
    this.detail = detail;
  }
}

/** @returns `result`, unless it is a negative errno. @throws SystemCallError, see its constructor. */
export function expectSuccess(result: number, call: string, detail: string): number {
  if (result < 0) throw new SystemCallError(-result, call, detail);
  return result;
}

const libc = loadLibc();
const errno = koffi.errno as () => number;

type Call = (...values: (number | string)[]) => number;
const declare = (name: string, result: string, ...parameters: string[]): Call =>
  libc.func(name, result, parameters) as unknown as Call;

// Results are declared int: every length here is far below 2^31, and an int becomes a small integer in V8.
const libcOpen = declare("open", "int", "str", "int");
const libcClose = declare("close", "int", "int");
const libcRead = declare("read", "int", "int", "uintptr_t", "size_t");
const libcWrite = declare("write", "int", "int", "uintptr_t", "size_t");
const libcIoctl = declare("ioctl", "int", "int", "ulong", "uintptr_t");
const libcPoll = declare("poll", "int", "uintptr_t", "ulong", "int");
const libcEventfd = declare("eventfd", "int", "uint", "int");
const libcSocket = declare("socket", "int", "int", "int", "int");
const libcBind = declare("bind", "int", "int", "uintptr_t", "uint");
const libcSendto = declare("sendto", "int", "int", "uintptr_t", "size_t", "int", "uintptr_t", "uint");
const libcRecv = declare("recv", "int", "int", "uintptr_t", "size_t", "int");
const libcFlock = declare("flock", "int", "int", "int");
const libcSchedSetaffinity = declare("sched_setaffinity", "int", "int", "size_t", "uintptr_t");
const libcSyscall = declare("syscall", "long", "long", "long", "uintptr_t", "ulong");
const libcMmap = declare("mmap", "int64", "uintptr_t", "size_t", "int", "int", "int", "int64");
const libcMunmap = declare("munmap", "int", "uintptr_t", "size_t");
const libcFallocate = declare("fallocate", "int", "int", "int", "int64", "int64");
const libcMount = declare("mount", "int", "str", "str", "str", "ulong", "uintptr_t");
const libcPrctl = declare("prctl", "int", "int", "ulong", "ulong", "ulong", "ulong");
const libcGetsockopt = declare("getsockopt", "int", "int", "int", "int", "uintptr_t", "uintptr_t");

/** glibc first, then musl (Alpine), whose libc is found by the name of its loader. */
function loadLibc(): ReturnType<typeof koffi.load> {
  const machine =
    { x64: "x86_64", arm64: "aarch64", riscv64: "riscv64" }[process.arch as string] ?? process.arch;
  const candidates = ["libc.so.6", `libc.musl-${machine}.so.1`, `ld-musl-${machine}.so.1`];
  const failures: string[] = [];
  for (const name of candidates) {
    try {
      return koffi.load(name);
    } catch (cause) {
      failures.push(cause instanceof Error ? cause.message : String(cause));
    }
  }
  throw new Error(`Cannot load the C library: tried ${candidates.join(", ")}: ${failures.join("; ")}`);
}

/**
 * Address of the first byte of `bytes`. Valid as long as the caller keeps `bytes` alive: the buffer of a typed array
 * does not move once its `buffer` was asked for, as is done here. Allocates; call it once per buffer.
 */
export function addressOf(bytes: Uint8Array): Address {
  void bytes.buffer;
  return Number(koffi.address(bytes));
}

export function open(path: string, flags: number): number {
  const result = libcOpen(path, flags);
  return result < 0 ? -errno() : result;
}

export function close(descriptor: number): number {
  const result = libcClose(descriptor);
  return result < 0 ? -errno() : result;
}

export function read(descriptor: number, at: Address, bytesMax: number): number {
  const result = libcRead(descriptor, at, bytesMax);
  return result < 0 ? -errno() : result;
}

export function write(descriptor: number, at: Address, byteCount: number): number {
  const result = libcWrite(descriptor, at, byteCount);
  return result < 0 ? -errno() : result;
}

/** @param argument - an address, or the value itself where the request takes one. */
export function ioctl(descriptor: number, request: number, argument: number): number {
  const result = libcIoctl(descriptor, request, argument);
  return result < 0 ? -errno() : result;
}

/** @param at - of `count` struct pollfd. @param timeoutMs - -1 waits without end. Blocks this thread. */
export function poll(at: Address, count: number, timeoutMs: number): number {
  const result = libcPoll(at, count, timeoutMs);
  return result < 0 ? -errno() : result;
}

/** A non-blocking event counter starting at 0. */
export function eventfd(): number {
  const result = libcEventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return result < 0 ? -errno() : result;
}

export function socket(domain: number, type: number, protocol: number): number {
  const result = libcSocket(domain, type, protocol);
  return result < 0 ? -errno() : result;
}

/** @param at - of a socket address of `byteCount` bytes. */
export function bind(descriptor: number, at: Address, byteCount: number): number {
  const result = libcBind(descriptor, at, byteCount);
  return result < 0 ? -errno() : result;
}

/** @param toAt - of a socket address of `toBytes` bytes. */
export function sendto(
  descriptor: number,
  at: Address,
  byteCount: number,
  flags: number,
  toAt: Address,
  toBytes: number,
): number {
  const result = libcSendto(descriptor, at, byteCount, flags, toAt, toBytes);
  return result < 0 ? -errno() : result;
}

export function recv(descriptor: number, at: Address, bytesMax: number, flags: number): number {
  const result = libcRecv(descriptor, at, bytesMax, flags);
  return result < 0 ? -errno() : result;
}

const LOCK_EX_NB = 0x2 | 0x4;

/** Lock a file for this open file description; -EAGAIN when another one holds the lock. */
export function flockExclusively(descriptor: number): number {
  const result = libcFlock(descriptor, LOCK_EX_NB);
  return result < 0 ? -errno() : result;
}

/** @param lengthAt - of a u32 holding the room at `at`; the kernel stores the used length there. */
export function getsockopt(
  descriptor: number,
  level: number,
  option: number,
  at: Address,
  lengthAt: Address,
): number {
  const result = libcGetsockopt(descriptor, level, option, at, lengthAt);
  return result < 0 ? -errno() : result;
}

/** Call `onReadable` from this thread's event loop whenever there is something to read. @returns how to stop that. */
export function watchReadable(descriptor: number, onReadable: () => void): () => void {
  const handle = koffi.node.poll(descriptor, { readable: true }, onReadable);
  return () => handle.close();
}

/** Of the calling thread. @param at - mask of processors, `byteCount` bytes. */
export function schedSetaffinity(byteCount: number, at: Address): number {
  const result = libcSchedSetaffinity(0, byteCount, at);
  return result < 0 ? -errno() : result;
}

const SYS_BPF = process.arch === "x64" ? 321 : 280;

/** bpf(2). @param at - of its attributes, `byteCount` bytes. @returns a descriptor, or what else the command returns */
export function bpf(command: number, at: Address, byteCount: number): number {
  const result = libcSyscall(SYS_BPF, command, at, byteCount);
  return result < 0 ? -errno() : result;
}

/** The first byte of each mapped buffer, to unmap it. */
const mappings = new WeakMap<ArrayBuffer, Address>();

/**
 * Memory that a descriptor stands for, shared with the kernel or other processes: an ArrayBuffer over its pages, which is as fast
 * as one of V8's own (docs/decisions/0016), in the thread that made it. Touching a page that a file does not have and its file
 * system has no room for ends the process (SIGBUS): allocateFile first.
 * @param byteCount - a multiple of the page size, or the rest of the last page reads as zeros
 * @param offset - a multiple of the page size
 * @throws SystemCallError
 */
export function mapMemory(
  descriptor: number,
  byteCount: number,
  offset: number,
  isWritable: boolean,
): ArrayBuffer {
  const protection = isWritable ? PROT_READ | PROT_WRITE : PROT_READ;
  const address = libcMmap(0, byteCount, protection, MAP_SHARED, descriptor, offset);
  if (address === -1) throw new SystemCallError(errno(), "mmap", `map ${byteCount} bytes into memory`);
  const buffer = koffi.view(address, byteCount);
  mappings.set(buffer, address);
  return buffer;
}

/** Whoever touches the buffer afterwards ends the process; without this it is there as long as that. */
export function unmapMemory(buffer: ArrayBuffer): void {
  const at = mappings.get(buffer);
  if (at !== undefined) libcMunmap(at, buffer.byteLength);
  mappings.delete(buffer);
}

/** Make sure that a file has these bytes, zeroes where nothing was written. */
export function allocateFile(descriptor: number, offset: number, byteCount: number): number {
  const result = libcFallocate(descriptor, 0, offset, byteCount);
  return result < 0 ? -errno() : result;
}

/** Mount a file system of this type on a directory. */
export function mount(type: string, directory: string): number {
  const result = libcMount(type, directory, type, 0, 0);
  return result < 0 ? -errno() : result;
}

const PR_SET_PTRACER = 0x59616d61;

/** Let one process take descriptors of this one where the kernel (Yama) would not let its equals. */
export function letTrace(pid: number): void {
  libcPrctl(PR_SET_PTRACER, pid, 0, 0, 0); // EINVAL: there is no Yama, and nothing to allow
}

/** Another process, as something that can be polled and taken from. */
export function pidfdOpen(pid: number): number {
  const result = libcSyscall(SYS_PIDFD_OPEN, pid, 0, 0);
  return result < 0 ? -errno() : result;
}

/** A descriptor of another process as one of our own (Linux 5.6; needs the right to trace it). */
export function pidfdGetfd(pidfd: number, descriptor: number): number {
  const result = libcSyscall(SYS_PIDFD_GETFD, pidfd, descriptor, 0);
  return result < 0 ? -errno() : result;
}

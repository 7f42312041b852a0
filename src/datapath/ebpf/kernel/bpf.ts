/**
 * bpf(2), the only place that calls it (Linux: include/uapi/linux/bpf.h, union bpf_attr). Everything here is for
 * set-up and may throw, except `BpfMap.update` and `delete`, which the packet path uses: they return what the call did.
 */
import { addressOf, bpf, close, expectSuccess, mapMemory, SystemCallError } from "../../system-call.ts";

const Command = {
  mapCreate: 0, mapLookup: 1, mapUpdate: 2, mapDelete: 3, mapNextKey: 4, programLoad: 5, pin: 6, get: 7, programRun: 10,
  information: 15, linkCreate: 28, linkUpdate: 29, linkDetach: 34,
} as const; // biome-ignore format: a table
const ATTRIBUTE_BYTES = 128;
const PAGE_BYTES = 4096;
/** Kinds of programs: of tcx, for packets on their way in; of XDP, for frames before they are packets. */
export const ProgramType = { classifier: 3, xdp: 6 } as const;
const TCX_INGRESS = 46;
/** Of BPF_PROG_TEST_RUN: what the program says of the frames is done (Linux 5.18). */
const LIVE_FRAMES = 1 << 1;
const LOG_BYTES = 1 << 20;
const NAME_BYTES_MAX = 15;

export const MapType = { hash: 1, array: 2, ring: 27 } as const;
/** Elements of a hash are allocated when they are needed. */
export const MAP_NO_PREALLOCATION = 1 << 0;
/** Of arrays: the values can be mapped into a process. */
export const MAP_MAPPABLE = 1 << 10;

/** The attributes of a call, and room for what they point to, kept alive together. */
class Attributes {
  readonly bytes = new Uint8Array(ATTRIBUTE_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly at = addressOf(this.bytes);
  readonly #kept: Uint8Array[] = [];

  u32(at: number, value: number): this {
    this.view.setUint32(at, value, true);
    return this;
  }

  address(at: number, bytes: Uint8Array): this {
    this.#kept.push(bytes);
    this.view.setBigUint64(at, BigInt(addressOf(bytes)), true);
    return this;
  }

  text(at: number, text: string): this {
    return this.address(at, new TextEncoder().encode(`${text.padEnd(64, "\0")}\0`));
  }

  /** A name in the attributes themselves. */
  name(at: number, name: string): this {
    this.bytes.set(new TextEncoder().encode(name.slice(0, NAME_BYTES_MAX)), at);
    return this;
  }

  call(command: number): number {
    return bpf(command, this.at, ATTRIBUTE_BYTES);
  }
}

/** A thing of the kernel's that lives as long as somebody holds it: a process, a link, a pin. */
export class BpfObject {
  readonly descriptor: number;

  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  /** Let it live in a bpf file system, where a later process finds it. */
  pin(path: string): void {
    const attributes = new Attributes().text(0, path).u32(8, this.descriptor);
    expectSuccess(attributes.call(Command.pin), "bpf BPF_OBJ_PIN", `pin ${path}`);
  }

  close(): void {
    close(this.descriptor);
  }
}

/** Descriptor of what is pinned there; negative: the errno. */
export const openPinned = (path: string): number => new Attributes().text(0, path).call(Command.get);

export interface MapShape {
  readonly type: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly entriesMax: number;
  readonly flags: number;
}

export class BpfMap extends BpfObject {
  readonly shape: MapShape;
  readonly name: string;
  /** For one call at a time: key and value lie where the caller put them. What a deletion does not use must be zero. */
  readonly #attributes = new Attributes();
  readonly #deletion = new Attributes();
  #memory: ArrayBuffer | undefined;

  constructor(descriptor: number, name: string, shape: MapShape) {
    super(descriptor);
    this.name = name;
    this.shape = shape;
  }

  /** @throws SystemCallError */
  static create(name: string, shape: MapShape): BpfMap {
    const attributes = new Attributes()
      .u32(0, shape.type)
      .u32(4, shape.keyBytes)
      .u32(8, shape.valueBytes)
      .u32(12, shape.entriesMax)
      .u32(16, shape.flags)
      .name(28, `vsnat_${name}`);
    const result = attributes.call(Command.mapCreate);
    return new BpfMap(expectSuccess(result, "bpf BPF_MAP_CREATE", `make the map ${name}`), name, shape);
  }

  /** A pinned map. @returns undefined when there is none, or one of another shape */
  static openPinned(path: string, name: string): BpfMap | undefined {
    const descriptor = openPinned(path);
    if (descriptor < 0) return undefined;
    const information = new Uint8Array(256);
    const result = new Attributes()
      .u32(0, descriptor)
      .u32(4, information.length)
      .address(8, information)
      .call(Command.information);
    const view = new DataView(information.buffer);
    if (result < 0) {
      close(descriptor);
      return undefined;
    }
    const [type, , keyBytes, valueBytes, entriesMax, flags] = [0, 4, 8, 12, 16, 20].map((at) =>
      view.getUint32(at, true),
    ) as [number, number, number, number, number, number];
    return new BpfMap(descriptor, name, { type, keyBytes, valueBytes, entriesMax, flags });
  }

  /** The values of a mappable array, one after the other, each beginning at a multiple of eight. */
  get memory(): ArrayBuffer {
    const { valueBytes, entriesMax } = this.shape;
    const bytes = Math.ceil(valueBytes / 8) * 8 * entriesMax;
    const whole = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    this.#memory ??= mapMemory(this.descriptor, whole, 0, true);
    return this.#memory;
  }

  /**
   * Key and value for the next calls.
   * @param keyAt - addresses that stay valid as long as the map is used
   */
  aim(keyAt: number, valueAt: number): void {
    this.#attributes.u32(0, this.descriptor);
    this.#deletion.u32(0, this.descriptor);
    this.#attributes.view.setBigUint64(8, BigInt(keyAt), true);
    this.#deletion.view.setBigUint64(8, BigInt(keyAt), true);
    this.#attributes.view.setBigUint64(16, BigInt(valueAt), true);
  }

  /** Put in what was aimed at, whether or not there is something under its key. @returns negative errno: ENOMEM, E2BIG */
  update(): number {
    return bpf(Command.mapUpdate, this.#attributes.at, ATTRIBUTE_BYTES);
  }

  /** Fetch what is under the key aimed at, into the value aimed at. @returns negative errno: ENOENT */
  look(): number {
    return bpf(Command.mapLookup, this.#attributes.at, ATTRIBUTE_BYTES);
  }

  /** Take out what is under the key aimed at. @returns negative errno: ENOENT */
  delete(): number {
    return bpf(Command.mapDelete, this.#deletion.at, ATTRIBUTE_BYTES);
  }

  /** Elements of a hash, counted one by one: for tests and censuses. */
  count(): number {
    const keys = [new Uint8Array(128), new Uint8Array(128)] as const;
    let count = 0;
    const first = new Attributes().u32(0, this.descriptor).address(16, keys[0]);
    for (let result = first.call(Command.mapNextKey); result >= 0; count++) {
      const [from, to] = count % 2 === 0 ? keys : [keys[1], keys[0]];
      result = new Attributes()
        .u32(0, this.descriptor)
        .address(8, from)
        .address(16, to)
        .call(Command.mapNextKey);
    }
    return count;
  }
}

/** The kernel's verifier, or what comes before it, refused a program. */
export class ProgramRefusedError extends SystemCallError {
  override readonly name = "ProgramRefusedError";
  /** Everything the verifier said, thousands of lines perhaps; empty when it said nothing. */
  readonly log: string;

  constructor(errno: number, log: string) {
    super(errno, "bpf BPF_PROG_LOAD", `load the fast path${log === "" ? "" : ` (${lastLine(log)})`}`);
    this.log = log;
  }
}

/** The verifier's reason comes last, before its statistics. */
const lastLine = (log: string): string =>
  log
    .trim()
    .split("\n")
    .filter((line) => !/^(processed|verification time|stack depth)/.test(line))
    .at(-1) ?? "";

export interface TestRun {
  /** What the program returned, as a signed number. */
  readonly result: number;
  readonly data: Uint8Array;
  /** Nanoseconds a run took, on average. */
  readonly durationNs: number;
}

export class BpfProgram extends BpfObject {
  #run: Attributes | undefined;
  readonly #in = new Uint8Array(PAGE_BYTES * 4);
  readonly #out = new Uint8Array(PAGE_BYTES * 4);
  readonly #context = new Uint8Array(192);

  /**
   * Load a program.
   * @throws ProgramRefusedError with the verifier's log; a program that is taken is loaded without one, which is faster
   */
  static load(
    name: string,
    code: Uint8Array,
    license: string,
    type: number = ProgramType.classifier,
  ): BpfProgram {
    const attributes = (): Attributes =>
      new Attributes()
        .u32(0, type)
        .u32(4, code.length / 8)
        .address(8, code)
        .text(16, license)
        .name(48, name)
        .u32(68, type === ProgramType.classifier ? TCX_INGRESS : 0);
    const result = attributes().call(Command.programLoad);
    if (result >= 0) return new BpfProgram(result);
    const log = new Uint8Array(LOG_BYTES);
    const again = attributes().u32(24, 1).u32(28, log.length).address(32, log).call(Command.programLoad);
    if (again >= 0) return new BpfProgram(again);
    const end = log.indexOf(0);
    throw new ProgramRefusedError(-result, new TextDecoder().decode(log.subarray(0, end)));
  }

  /** Run it on a frame (BPF_PROG_TEST_RUN), from the Ethernet header on. @param gsoBytes - of a super-packet's segments */
  run(frame: Uint8Array, repeat = 1, gsoBytes = 0): TestRun {
    this.#in.set(frame);
    const attributes = (this.#run ??= new Attributes()
      .u32(0, this.descriptor)
      .address(16, this.#in)
      .address(24, this.#out));
    attributes.u32(8, frame.length).u32(12, this.#out.length).u32(32, repeat).u32(40, 0);
    attributes.view.setBigUint64(48, 0n);
    if (gsoBytes > 0) {
      const context = new DataView(this.#context.buffer);
      context.setUint32(164, Math.ceil(frame.length / gsoBytes), true);
      context.setUint32(176, gsoBytes, true);
      attributes.u32(40, this.#context.length);
      attributes.view.setBigUint64(48, BigInt(addressOf(this.#context)), true);
    }
    expectSuccess(attributes.call(Command.programRun), "bpf BPF_PROG_TEST_RUN", "run the fast path");
    const bytes = attributes.view.getUint32(12, true);
    return {
      result: attributes.view.getInt32(4, true),
      data: this.#out.slice(0, bytes),
      durationNs: attributes.view.getUint32(36, true),
    };
  }

  /**
   * Run an XDP program on copies of a frame, and do with each what it says: send it, drop it. Copies are used again as the last
   * one was left.
   * @param batch - of so many frames, 256 at most; between two the kernel works on what they caused
   * @returns nanoseconds a frame took, that work included
   */
  send(frame: Uint8Array, count: number, batch: number): number {
    const attributes = new Attributes().u32(0, this.descriptor).u32(8, frame.length).address(16, frame);
    attributes.u32(32, count).u32(64, LIVE_FRAMES).u32(72, batch);
    expectSuccess(attributes.call(Command.programRun), "bpf BPF_PROG_TEST_RUN", "send frames");
    return attributes.view.getUint32(36, true);
  }
}

/** A program at work on an interface; closing it, if it is pinned nowhere, takes it off. */
export class TcxLink extends BpfObject {
  /** See what comes in at an interface, behind what is there already. @throws SystemCallError */
  static attach(program: BpfProgram, device: number): TcxLink {
    const result = new Attributes()
      .u32(0, program.descriptor)
      .u32(4, device)
      .u32(8, TCX_INGRESS)
      .call(Command.linkCreate);
    const detail = `attach the fast path to interface ${device}`;
    return new TcxLink(expectSuccess(result, "bpf BPF_LINK_CREATE", detail));
  }

  /** Interface it is at; 0: that is gone. */
  get device(): number {
    const information = new Uint8Array(256);
    new Attributes()
      .u32(0, this.descriptor)
      .u32(4, information.length)
      .address(8, information)
      .call(Command.information);
    return new DataView(information.buffer).getUint32(16, true);
  }

  /** Put another program in its place, between two packets. */
  replace(program: BpfProgram): void {
    const attributes = new Attributes().u32(0, this.descriptor).u32(4, program.descriptor);
    expectSuccess(attributes.call(Command.linkUpdate), "bpf BPF_LINK_UPDATE", "renew the fast path");
  }

  /** Take it off, whoever else holds it. */
  detach(): void {
    new Attributes().u32(0, this.descriptor).call(Command.linkDetach); // gone with its interface: as wanted
  }
}

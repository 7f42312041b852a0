/**
 * Choosing servers in the kernel, as this process sets it up: services, their picks, what a connection with each destination is
 * like, and the records lent for connections to come. Maps alone; what may be delegated is decided in `nat/delegations.ts`.
 */
import type {
  BeginningSink,
  Delegation,
  DelegationTarget,
  ServerChooser,
} from "../../nat/contracts/flow-cache.ts";
import { difference32, fold } from "../../wire/checksum.ts";
import { addressOf } from "../system-call.ts";
import type { ConnectionLines } from "./connection-lines.ts";
import type { BpfMap } from "./kernel/bpf.ts";
import {
  CHOICES_MAX,
  Choice,
  ChoiceKind,
  LENT_MAX,
  PICKS_MAX,
  Reserve,
  ServiceKey,
  Target,
} from "./maps/layout.ts";
import type { FlowMaps } from "./maps/maps.ts";
import type { Ways } from "./way.ts";

const KINDS = {
  sequence: ChoiceKind.sequence,
  source: ChoiceKind.source,
  "source-and-port": ChoiceKind.sourceAndPort,
} as const;
const VALUE_AT = 32;
const CHOICE_WORDS = Choice.bytes / 4;
/** Values of arrays begin at multiples of eight bytes. */
const PICK_WORDS = 2;
const TAKEN = Reserve.at.taken / 4;
const GIVEN = Reserve.at.given / 4;

export class Choices implements ServerChooser {
  readonly picksMax = PICKS_MAX;
  readonly lentMax = LENT_MAX;
  onBegan: BeginningSink = () => -1;
  onReturned: ServerChooser["onReturned"] = () => {};
  readonly #ways: Ways;
  readonly #lines: ConnectionLines;
  readonly #serversMax: number;
  readonly #services: BpfMap;
  readonly #choices: Int32Array;
  readonly #picks: Int32Array;
  readonly #targets: DataView;
  readonly #reserve: Int32Array;
  /** By number; the numbers of the others are free. */
  readonly #delegations: (Delegation | undefined)[] = [];
  /** Key and value of a service. */
  readonly #bytes = new Uint8Array(64);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(maps: FlowMaps, ways: Ways, lines: ConnectionLines, serversMax: number) {
    this.#ways = ways;
    this.#lines = lines;
    this.#serversMax = serversMax;
    this.#services = maps.services;
    this.#choices = new Int32Array(maps.choices.memory);
    this.#picks = new Int32Array(maps.picks.memory);
    this.#targets = new DataView(maps.targets.memory);
    this.#reserve = new Int32Array(maps.reserve.memory);
    const at = addressOf(this.#bytes);
    maps.services.aim(at, at + VALUE_AT);
  }

  begin(delegation: Delegation): number {
    const { picks, loopAt, kind, targets } = delegation;
    let number = this.#delegations.indexOf(undefined);
    if (number < 0) number = this.#delegations.length;
    if (number >= CHOICES_MAX || picks.length > this.picksMax) return -1;
    if (!targets.every((target) => this.#writeTarget(delegation, target))) return -1;
    picks.forEach((pick, index) => {
      this.#picks[(number * PICKS_MAX + index) * PICK_WORDS] = pick;
    });
    const at = number * CHOICE_WORDS;
    this.#choices[at + Choice.at.length / 4] = picks.length;
    this.#choices[at + Choice.at.loopAt / 4] = loopAt;
    this.#choices[at + Choice.at.taken / 4] = 0;
    this.#writeKey(delegation);
    this.#view.setUint32(VALUE_AT, number, true);
    if (this.#services.update() < 0) return -1;
    this.#delegations[number] = delegation;
    Atomics.store(this.#choices, at + Choice.at.kind / 4, KINDS[kind]);
    return number;
  }

  end(choice: number): number {
    const at = choice * CHOICE_WORDS;
    Atomics.store(this.#choices, at + Choice.at.kind / 4, ChoiceKind.none);
    this.#writeKey(this.#delegations[choice]!);
    this.#services.delete();
    this.#delegations[choice] = undefined;
    return Atomics.load(this.#choices, at + Choice.at.taken / 4) >>> 0;
  }

  takePick(choice: number): number {
    return Atomics.add(this.#choices, choice * CHOICE_WORDS + Choice.at.taken / 4, 1) >>> 0;
  }

  get lentCount(): number {
    return (Atomics.load(this.#reserve, GIVEN) - Atomics.load(this.#reserve, TAKEN)) | 0;
  }

  lend(record: number, generation: number): void {
    this.#lines.begin(record, generation, 0, 0);
    const given = Atomics.load(this.#reserve, GIVEN);
    const at = Reserve.at.lent / 4 + (given & (LENT_MAX - 1)) * 2;
    this.#reserve[at] = record;
    this.#reserve[at + 1] = generation;
    Atomics.store(this.#reserve, GIVEN, (given + 1) | 0);
  }

  takeBack(): number {
    for (;;) {
      const taken = Atomics.load(this.#reserve, TAKEN);
      if (taken === Atomics.load(this.#reserve, GIVEN)) return -1;
      const record = this.#reserve[Reserve.at.lent / 4 + (taken & (LENT_MAX - 1)) * 2]!;
      if (Atomics.compareExchange(this.#reserve, TAKEN, taken, (taken + 1) | 0) !== taken) continue;
      this.#lines.end(record);
      return record;
    }
  }

  #writeKey({ words, port, protocol, family }: Delegation): void {
    const view = this.#view;
    for (let word = 0; word < 4; word++) view.setInt32(ServiceKey.at.address + word * 4, words[word]!);
    view.setUint16(ServiceKey.at.port, port);
    view.setUint8(ServiceKey.at.protocol, protocol);
    view.setUint8(ServiceKey.at.family, family);
  }

  /** @returns false when its packets could not go there by the fast path */
  #writeTarget({ family, words: virtual, port: virtualPort }: Delegation, target: DelegationTarget): boolean {
    const { number, words, port } = target;
    if (number >= this.#serversMax) return false;
    const way = this.#ways.to(family, words, 0, virtual, 0);
    if (way < 0) return false;
    const at = number * Target.bytes;
    const view = this.#targets;
    let there = 0;
    let back = 0;
    for (let word = 0; word < 4; word++) {
      view.setInt32(at + Target.at.address + word * 4, words[word]!);
      if (words[word] === virtual[word]) continue;
      there += difference32(virtual[word]!, words[word]!);
      back += difference32(words[word]!, virtual[word]!);
    }
    view.setUint32(at + Target.at.way, way, true);
    view.setUint16(at + Target.at.port, port);
    view.setUint16(at + Target.at.addressDelta, fold(there));
    view.setUint16(at + Target.at.backAddressDelta, fold(back));
    const isSamePort = port === virtualPort;
    view.setUint16(at + Target.at.portDelta, isSamePort ? 0 : fold(difference32(virtualPort, port)));
    view.setUint16(at + Target.at.backPortDelta, isSamePort ? 0 : fold(difference32(port, virtualPort)));
    return true;
  }
}

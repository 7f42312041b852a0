import type {
  ChangeSink,
  FlowCache,
  FlowRules,
  ServerChooser,
  TrafficSink,
} from "../../src/nat/contracts/flow-cache.ts";

interface Line {
  state: number;
  seenTick: number;
  inPackets: number;
  enteredPackets: number;
  hasNews: boolean;
  isCurrent: boolean;
}

/** A flow cache without a kernel: tests say what it saw. */
export class FakeCache implements FlowCache {
  chooser: ServerChooser | undefined;
  readonly lines = new Map<number, Line>();
  readonly changes: Parameters<ChangeSink>[] = [];
  counts: Parameters<TrafficSink> = [0, 0, 0, 0];
  isEnabled = false;
  rules: FlowRules | undefined;

  install(record: number, state: number, seenTick: number): boolean {
    this.lines.set(record, {
      state,
      seenTick,
      inPackets: 1,
      enteredPackets: 1,
      hasNews: false,
      isCurrent: true,
    });
    return true;
  }
  except(): boolean {
    return true;
  }
  withdraw(record: number): void {
    this.lines.delete(record);
  }
  lapse(record: number): void {
    this.lines.delete(record);
  }
  flushServer(): void {
    for (const line of this.lines.values()) line.isCurrent = false;
  }
  isCached(record: number): boolean {
    return this.lines.has(record);
  }
  isCurrent(record: number): boolean {
    return this.lines.get(record)?.isCurrent === true;
  }
  state(record: number): number {
    this.lines.get(record)!.hasNews = false;
    return this.lines.get(record)!.state;
  }
  seenTick(record: number): number {
    return this.lines.get(record)!.seenTick;
  }
  takeInPackets(record: number, until?: number): number {
    const line = this.lines.get(record)!;
    const taken = (until ?? line.inPackets) - line.enteredPackets;
    line.enteredPackets += taken;
    return taken;
  }
  hasNews(record: number): boolean {
    return this.lines.get(record)!.hasNews;
  }
  tell(record: number, state: number, seenTick: number): void {
    Object.assign(this.lines.get(record)!, { state, seenTick, hasNews: false });
  }
  takeChanges(changed: ChangeSink): void {
    for (const change of this.changes.splice(0)) changed(...change);
  }
  takeCounts(_: number, add: TrafficSink): void {
    add(...this.counts);
    this.counts = [0, 0, 0, 0];
  }
  setEnabled(isEnabled: boolean): void {
    this.isEnabled = isEnabled;
  }
  setRules(rules: FlowRules): void {
    this.rules = rules;
  }

  /** As if the kernel had forwarded packets of it. */
  saw(record: number, state: number, seenTick: number, packets = 1): void {
    const line = this.lines.get(record)!;
    Object.assign(line, { state, seenTick, inPackets: line.inPackets + packets, hasNews: true });
  }
}

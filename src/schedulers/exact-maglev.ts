/**
 * maglev, beyond IPVS: consistent hashing of the client's address (with the flag mh-port also its port) whose
 * shares are exact and which never refuses while anybody may take a connection. After Eisenbud et al.,
 * "Maglev: a fast and reliable software network load balancer" (NSDI 2016, section 3.4), with other turns.
 *
 * Every destination claims slots in an order of its own. Whose turn it is follows from weights alone: the
 * k-th claim of weight w falls due at (k - 1/2) / w. So each has its weight's share of the slots to one slot
 * (Sainte-Laguë's method; a weight too small for a slot gets one all the same), and when one leaves the turns
 * of the others do not change: with a hundred servers fewer than one client in a hundred moves that need not
 * have. The table follows from the set of destinations, not from its history, so directors with one
 * configuration agree, also after a restart.
 *
 * Weight 0 leaves the table. An overloaded destination keeps its slots; its clients go to the next slots'
 * meanwhile, each to another.
 */
import { KeyedHash } from "../base/keyed-hash.ts";
import type { Scheduler, SchedulerContext } from "../nat/contracts/scheduler.ts";
import type { Destination } from "../nat/destination.ts";
import { isAnyEligible, isEligible } from "./selection.ts";

/** A prime. With 100 servers about 0.6 % move needlessly; 16381 slots would be 1.4 %. */
export const SLOT_COUNT = 65_537;
const FREE = -1;
/**
 * Fixed, so that directors agree. What a client could gain by choosing its address is a server, as with every
 * hash.
 */
const CLIENT_KEY = 0x6d61676c;
const START_KEY = 0x73746172;
const SKIP_KEY = 0x736b6970;

export const exactMaglev = ({ flags }: Pick<SchedulerContext, "flags">): Scheduler => {
  const isPortHashed = flags.includes("mh-port");
  const clientHash = new KeyedHash(CLIENT_KEY, CLIENT_KEY);
  /** Index in the list, by slot; all FREE when nobody has a weight. */
  const slots = new Int32Array(SLOT_COUNT).fill(FREE);
  let isStale = true;

  return {
    name: "maglev",
    pick(destinations, flow) {
      if (isStale) {
        fillExactMaglev(slots, destinations);
        isStale = false;
      }
      let slot = slotOf(clientHash, flow.words, isPortHashed ? flow.sourcePort : 0);
      if (slots[slot] === FREE) return undefined;
      const destination = destinations[slots[slot]!]!;
      if (isEligible(destination)) return destination;
      if (!isAnyEligible(destinations)) return undefined;
      // Everybody of a weight has a slot, so this ends.
      for (;;) {
        slot = (slot + 1) % SLOT_COUNT;
        const other = destinations[slots[slot]!]!;
        if (isEligible(other)) return other;
      }
    },
    // Filled at the next pick, so that a hundred servers added one by one cost one filling.
    changed() {
      isStale = true;
    },
  };
};

/**
 * @param slots - indexes in the list are written here. Once a change, not a packet: allocates, and takes
 * milliseconds.
 */
export function fillExactMaglev(slots: Int32Array, destinations: readonly Destination[]): void {
  slots.fill(FREE);
  const order = indexesInOrder(destinations);
  const count = Math.min(order.length, SLOT_COUNT);
  if (count === 0) return;
  const startHash = new KeyedHash(START_KEY, START_KEY);
  const skipHash = new KeyedHash(SKIP_KEY, SKIP_KEY);
  const position = new Int32Array(count);
  const skip = new Int32Array(count);
  const claimCount = new Int32Array(count);
  const dueAt = new Float64Array(count);

  const claim = (who: number): void => {
    const index = order[who]!;
    const step = skip[who]!;
    let slot = position[who]!;
    while (slots[slot] !== FREE) {
      slot += step;
      if (slot >= SLOT_COUNT) slot -= SLOT_COUNT;
    }
    slots[slot] = index;
    position[who] = slot;
    dueAt[who] = (++claimCount[who]! + 0.5) / destinations[index]!.weight;
  };

  // Everybody's first slot whatever the weight, then by the time of the next claim.
  for (let who = 0; who < count; who++) {
    const { words, port } = destinations[order[who]!]!;
    position[who] = slotOf(startHash, words, port);
    skip[who] = 1 + ((hashOf(skipHash, words, port) >>> 0) % (SLOT_COUNT - 1));
    claim(who);
  }
  const heap = Int32Array.from(order.keys()).subarray(0, count);
  heap.sort((a, b) => dueAt[a]! - dueAt[b]! || a - b);
  for (let filled = count; filled < SLOT_COUNT; filled++) {
    claim(heap[0]!);
    sink(heap, dueAt);
  }
}

/** Indexes of those with a weight, in an order that does not depend on when they were added. */
const indexesInOrder = (destinations: readonly Destination[]): number[] =>
  [...destinations.keys()]
    .filter((index) => destinations[index]!.weight > 0)
    .sort((a, b) => compareIdentity(destinations[a]!, destinations[b]!));

/**
 * The first of a binary heap is due later now: move it down. Of two due at once the lower number is first.
 */
function sink(heap: Int32Array, dueAt: Float64Array): void {
  const who = heap[0]!;
  const due = dueAt[who]!;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= heap.length) break;
    let other = heap[below]!;
    if (below + 1 < heap.length) {
      const right = heap[below + 1]!;
      if (dueAt[right]! < dueAt[other]! || (dueAt[right] === dueAt[other] && right < other)) {
        other = right;
        below++;
      }
    }
    if (due < dueAt[other]! || (due === dueAt[other] && who < other)) break;
    heap[at] = other;
    at = below;
  }
  heap[at] = who;
}

function compareIdentity(a: Destination, b: Destination): number {
  for (let i = 0; i < 4; i++) if (a.words[i] !== b.words[i]) return a.words[i]! - b.words[i]!;
  return a.port - b.port;
}

/** Signed, because V8 would box an unsigned one. */
function hashOf(hash: KeyedHash, words: Int32Array, port: number): number {
  hash.start();
  for (let i = 0; i < 4; i++) hash.add(words[i]!);
  hash.add(port);
  return hash.finish();
}

const slotOf = (hash: KeyedHash, words: Int32Array, port: number): number =>
  (hashOf(hash, words, port) >>> 0) % SLOT_COUNT;

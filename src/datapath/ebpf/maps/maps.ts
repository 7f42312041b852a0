/** The maps of one fast path, made or taken from where they are pinned, and their memory as this process sees it. */
import { BpfMap, MAP_MAPPABLE, MAP_NO_PREALLOCATION, MapType } from "../kernel/bpf.ts";
import {
  CHOICES_MAX,
  Choice,
  Connection,
  Control,
  Count,
  Flow,
  FlowKey,
  HopKey,
  LAYOUT_VERSION,
  PICKS_MAX,
  Reserve,
  ServiceKey,
  Target,
  Way,
} from "./layout.ts";

/** Distinct ways out: interface, gateway and size. */
export const WAYS_MAX = 4096;
/** 4 MiB: some tens of thousands of news between two looks. */
const NEWS_BYTES = 1 << 22;
/** Counters of destinations take 16 MiB at most, however many processors there are. */
const COUNTS_MAX = 1 << 19;
const SERVERS_MAX = 16_384;
const SERVERS_MIN = 1024;

export interface MapSizes {
  /** Connections, as many as the director's table has room for. */
  readonly capacity: number;
  readonly processorCount: number;
}

/** Destinations with a number below this can be cached. */
export const serversMax = (processorCount: number): number =>
  Math.max(SERVERS_MIN, Math.min(SERVERS_MAX, Math.floor(COUNTS_MAX / processorCount)));

const MAP_NAMES = [
  "flows",
  "connections",
  "servers",
  "epochs",
  "ways",
  "control",
  "news",
  "services",
  "choices",
  "picks",
  "targets",
  "hops",
  "reserve",
] as const;
export type MapName = (typeof MAP_NAMES)[number];
export type FlowMaps = Readonly<Record<MapName, BpfMap>>;

function shapes({ capacity, processorCount }: MapSizes): Readonly<Record<MapName, BpfMap["shape"]>> {
  const array = (valueBytes: number, entriesMax: number): BpfMap["shape"] => {
    return { type: MapType.array, keyBytes: 4, valueBytes, entriesMax, flags: MAP_MAPPABLE };
  };
  const hash = (keyBytes: number, valueBytes: number, entriesMax: number): BpfMap["shape"] => {
    return { type: MapType.hash, keyBytes, valueBytes, entriesMax, flags: MAP_NO_PREALLOCATION };
  };
  const servers = serversMax(processorCount);
  return {
    flows: hash(FlowKey.bytes, Flow.bytes, 2 * capacity),
    connections: array(Connection.bytes, capacity),
    servers: array(Count.bytes, servers * processorCount),
    epochs: array(4, servers),
    ways: array(Way.bytes, WAYS_MAX),
    control: array(Control.bytes, 1),
    news: { type: MapType.ring, keyBytes: 0, valueBytes: 0, entriesMax: NEWS_BYTES, flags: 0 },
    services: hash(ServiceKey.bytes, 4, CHOICES_MAX),
    choices: array(Choice.bytes, CHOICES_MAX),
    picks: array(4, CHOICES_MAX * PICKS_MAX),
    targets: array(Target.bytes, servers),
    hops: hash(HopKey.bytes, 4, WAYS_MAX),
    reserve: array(Reserve.bytes, 1),
  };
}

/** @throws SystemCallError, nothing left behind */
export function createMaps(sizes: MapSizes): FlowMaps {
  const made: BpfMap[] = [];
  try {
    const entries = Object.entries(shapes(sizes)).map(([name, shape]) => {
      const map = BpfMap.create(name, shape);
      made.push(map);
      return [name, map] as const;
    });
    const maps = Object.fromEntries(entries) as unknown as FlowMaps;
    const control = new Uint32Array(maps.control.memory);
    control[Control.at.layoutVersion / 4] = LAYOUT_VERSION;
    control[Control.at.capacity / 4] = sizes.capacity;
    return maps;
  } catch (error) {
    for (const map of made) map.close();
    throw error;
  }
}

/** Descriptors by name, as the assembler wants them. */
export const descriptorsOf = (maps: FlowMaps): Record<MapName, number> =>
  Object.fromEntries(MAP_NAMES.map((name) => [name, maps[name].descriptor])) as Record<MapName, number>;

export function closeMaps(maps: FlowMaps): void {
  for (const name of MAP_NAMES) maps[name].close();
}

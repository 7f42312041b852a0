/**
 * Our side inside the sandbox. The text of `guest` is evaluated there, so it may refer to nothing but the language, its
 * parameters and the constants in front of it.
 *
 * Numbers that change with every pick come as one block of memory: a few of the connection, then a few of each server.
 */
import type { NewConnection, SchedulerModule, SchedulerServer } from "./scheduler-plugin.ts";

/** Numbers of the connection, at the beginning of the block: protocol, client's port, virtual port, time. */
export const CONNECTION_NUMBERS = 4;
/** Numbers of each server: weight, active and inactive connections, 1 if overloaded. */
export const SERVER_NUMBERS = 4;
/** What `pick` answers besides an index. */
export const NOBODY = -1;
export const NO_SERVER = -2;
/** Past every block. */
const NOWHERE = 2 ** 30;
const CONSTANTS = { CONNECTION_NUMBERS, SERVER_NUMBERS, NOBODY, NO_SERVER, NOWHERE };

export interface Guest {
  /** @param flags - the service's, with commas between @returns what is wrong with the module, or nothing */
  begin(module: Partial<SchedulerModule>, flags: string): string | undefined;
  /** @param list - JSON: address and port of each server */
  arrange(list: string): void;
  /** @param numbers - the block @returns index of a server, NOBODY, or NO_SERVER for anything else the module gave */
  pick(numbers: ArrayBuffer): number;
}

/**
 * @param addressOf - text of the connection's client or virtual address
 * @param seed - of Math.random, so that a replay picks again what was picked; not 0
 */
function guest(addressOf: (whose: "client" | "virtual") => string, seed: number): Guest {
  let random = seed;
  // xorshift32, as base/seeded-random.ts.
  Math.random = () => {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    return (random >>> 0) / 4_294_967_296;
  };

  let block = new Float64Array(CONNECTION_NUMBERS);
  // Getters are what a pick spends its time in: one access each, no call.
  class Server implements SchedulerServer {
    /** In the block; of one that is no longer there: behind its end, where nothing is. */
    #at = NOWHERE;
    readonly address: string;
    readonly port: number;

    constructor(address: string, port: number) {
      this.address = address;
      this.port = port;
      Object.freeze(this);
    }

    get weight(): number {
      return block[this.#at] ?? 0;
    }
    get activeConnections(): number {
      return block[this.#at + 1] ?? 0;
    }
    get inactiveConnections(): number {
      return block[this.#at + 2] ?? 0;
    }
    get isOverloaded(): boolean {
      return block[this.#at + 3] === 1;
    }
    get isEligible(): boolean {
      return block[this.#at]! > 0 && block[this.#at + 3] === 0;
    }

    static place(server: Server, at: number): void {
      server.#at = at;
    }
    static placeOf(value: unknown): number {
      return typeof value === "object" && value !== null && #at in value ? value.#at : NOWHERE;
    }
  }

  const connection: NewConnection = Object.freeze({
    get protocol() {
      return block[0] === 6 ? "tcp" : block[0] === 17 ? "udp" : "sctp";
    },
    get clientAddress() {
      return addressOf("client");
    },
    get clientPort() {
      return block[1]!;
    },
    get virtualAddress() {
      return addressOf("virtual");
    },
    get virtualPort() {
      return block[2]!;
    },
    get nowMs() {
      return block[3]!;
    },
    get schedulerFlags() {
      return schedulerFlags;
    },
  });

  let servers: readonly Server[] = [];
  let isChanged = true;
  let schedulerFlags: readonly string[] = [];
  let scheduler: Partial<SchedulerModule> = {};

  return {
    begin(module, flags) {
      scheduler = module;
      schedulerFlags = Object.freeze(flags.split(",").filter((flag) => flag !== ""));
      if (typeof module.pick !== "function") return "it exports no function pick";
      const { changed } = module;
      return changed === undefined || typeof changed === "function"
        ? undefined
        : "its changed is no function";
    },
    arrange(list) {
      const known = new Map(servers.map((server) => [`${server.address} ${server.port}`, server]));
      for (const server of servers) Server.place(server, NOWHERE);
      servers = (JSON.parse(list) as [string, number][]).map(([address, port], index) => {
        const server = known.get(`${address} ${port}`) ?? new Server(address, port);
        Server.place(server, CONNECTION_NUMBERS + SERVER_NUMBERS * index);
        return server;
      });
      // Sorting it in place would be a mistake that shows nowhere else.
      Object.freeze(servers);
      isChanged = true;
    },
    pick(numbers) {
      block = new Float64Array(numbers);
      if (isChanged) {
        isChanged = false;
        scheduler.changed?.(servers);
      }
      const picked = scheduler.pick?.(servers, connection);
      if (picked === undefined || picked === null) return NOBODY;
      const at = Server.placeOf(picked);
      return at === NOWHERE ? NO_SERVER : (at - CONNECTION_NUMBERS) / SERVER_NUMBERS;
    },
  };
}

/** An expression whose value is `guest`. */
export const GUEST_CODE = `(() => {
const { ${Object.keys(CONSTANTS).join(", ")} } = ${JSON.stringify(CONSTANTS)};
return ${guest};
})()`;

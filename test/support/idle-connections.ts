/** Fill the table that a director left with idle connections, as another director would have: one in this process. */
import { closeSync, openSync } from "node:fs";
import { milliseconds } from "../../src/base/environment.ts";
import { seededRandom } from "../../src/base/seeded-random.ts";
import { VIP } from "../../src/cli/demo/founding-network.ts";
import { unmapMemory } from "../../src/datapath/system-call.ts";
import { mapTableFile } from "../../src/datapath/tun/host/table-file.ts";
import { tcp } from "./packet-builder.ts";
import { destination, service } from "./replayed.ts";
import { Stage } from "./stage.ts";

/** Bound of the table by default. */
const CONNECTIONS_MAX = 1_048_576;

/** Established connections of made-up clients to port 81 of the virtual address. */
export async function addIdleConnections(path: string, count: number): Promise<void> {
  const descriptor = openSync(path, "r+");
  const memory = mapTableFile({ descriptor, connectionsMax: CONNECTIONS_MAX });
  try {
    const now = milliseconds(Number(process.hrtime.bigint() / 1_000_000n));
    const stage = new Stage([service("tcp", VIP.ipv4, 81, "rr", destination("172.16.0.2", 81))], {
      memory,
      now,
      connectionsMax: CONNECTIONS_MAX,
      randomU32: seededRandom(now),
    });
    const to = `${VIP.ipv4}:81`;
    const packets = ["S", "A"].map((flags) => tcp({ from: "198.18.0.0:1024", to, flags, identification: 0 }));
    for (let index = 0; index < count; index++) {
      for (const packet of packets) {
        const view = new DataView(packet.buffer, packet.byteOffset);
        // Client and identification make up for each other in the header's checksum.
        view.setUint16(14, index & 0xffff);
        view.setUint16(4, 0xffff - (index & 0xffff));
        view.setUint16(20, 1024 + (index >>> 16));
        stage.send(packet);
      }
    }
  } finally {
    unmapMemory(memory.buffer as ArrayBuffer);
    closeSync(descriptor);
  }
}

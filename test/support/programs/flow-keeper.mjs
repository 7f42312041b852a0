/**
 * `flow-keeper.mjs DIST DEVICE DIRECTORY [keep|drop|die]`: opens the fast path of the build in DIST with its pins in DIRECTORY,
 * attaches it to DEVICE (an index), and prints a line of JSON: what it found of a process before, what it caches. Then it lets
 * go of everything, keeping the pins or not, or waits to be killed.
 */
import { pathToFileURL } from "node:url";

const [dist, device, pinDirectory, end] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${dist}/${path}`));
const { EbpfFlowCache } = await load("datapath/ebpf/flow-cache.js");
const { ConnectionTable } = await load("nat/connection-table.js");
const { Flow } = await load("wire/flow.js");

// The same table every time, as a process finds it that takes over from the one before.
const table = new ConnectionTable(16, [1, 2], 100);
const flow = new Flow();
flow.protocol = 6;
flow.words.set([0x0a000001, 0, 0, 0, 0x0a000002, 0, 0, 0]);
[flow.sourcePort, flow.destinationPort] = [1000, 80];
const record = table.insert(flow, Int32Array.of(0x0a000003, 0, 0, 0), 80, 0, 1000, 0);

const warnings = [];
const cache = new EbpfFlowCache({
  table,
  findWay: () => ({ device: Number(device), mtuBytes: 1500 }),
  originNs: 0,
  pinDirectory,
  onWarning: (message) => warnings.push(message),
});
const inherited = [];
cache.inherit((...entry) => inherited.push(entry));
const { devices } = cache.status;
cache.attach([Number(device)]);
cache.install(record, 3, 100);
// As the kernel would leave it after packets: another state, and two more from the client.
const line = new Int32Array(cache.maps.connections.memory);
line[record * 16 + 2] = 1;
line[record * 16 + 4] += 2;
console.log(JSON.stringify({ devices, inherited, warnings }));
if (end === "die") setInterval(() => {}, 1000);
else cache.close(end === "keep");

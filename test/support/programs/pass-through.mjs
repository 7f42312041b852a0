// A packet loop that sends on every packet as it is, one hop given back, but throws at packets of FAULTY_BYTES. Another
// thread rings its bell once. Runs until it is killed or the device is gone.
// Arguments: folder of the compiled sources, name of the device.
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

const [, , dist, name] = process.argv;
const { openTunDevice } = await import(`${dist}/datapath/tun/device.js`);
const { TunDatapath } = await import(`${dist}/datapath/tun/tun-datapath.js`);
const { PacketLoop } = await import(`${dist}/datapath/tun/loop.js`);
const { Wake } = await import(`${dist}/datapath/tun/wake.js`);
const { updateChecksum } = await import(`${dist}/wire/checksum.js`);
const { PASS } = await import(`${dist}/nat/verdict.js`);

const FAULTY_BYTES = 666;
const IPV4_TTL_AT = 8;
const IPV4_CHECKSUM_AT = 10;
const IPV6_HOP_LIMIT_AT = 7;

function receive({ view, at, length }) {
  if (length === FAULTY_BYTES) throw new Error("a mistake of ours");
  if (view.getUint8(at) >> 4 === 4) {
    const before = view.getUint16(at + IPV4_TTL_AT);
    view.setUint16(at + IPV4_TTL_AT, before + 0x100);
    const checksum = view.getUint16(at + IPV4_CHECKSUM_AT);
    view.setUint16(at + IPV4_CHECKSUM_AT, updateChecksum(checksum, before, before + 0x100));
  } else {
    view.setUint8(at + IPV6_HOP_LIMIT_AT, view.getUint8(at + IPV6_HOP_LIMIT_AT) + 1);
  }
  return PASS;
}

const RING = `const { url, bell } = require("node:worker_threads").workerData;
  import(url).then(({ Wake }) => new Wake(bell).ring());`;
const wake = new Wake();
let controlCount = 0;
const datapath = new TunDatapath(openTunDevice(name));
const loop = new PacketLoop({
  datapath,
  wake,
  processor: { receive, advance() {} },
  control: () => controlCount++,
  onError: (error, suppressed) => writeSync(2, `${error.message}, ${suppressed} suppressed\n`),
});
const url = pathToFileURL(`${dist}/datapath/tun/wake.js`).href;
new Worker(RING, { eval: true, workerData: { url, bell: wake.descriptor } });
writeSync(1, "ready\n");
const end = loop.run();
writeSync(
  1,
  `${JSON.stringify({ end, controlCount, internalErrorCount: loop.internalErrorCount, ...datapath.counters })}\n`,
);

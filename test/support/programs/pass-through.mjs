// A packet loop that sends on every packet as it is, one hop given back. Runs until it is killed or the device is gone.
// Arguments: folder of the compiled sources, name of the device.
import { writeSync } from "node:fs";

const [, , dist, name] = process.argv;
const { openTunDevice } = await import(`${dist}/datapath/tun/device.js`);
const { TunDatapath } = await import(`${dist}/datapath/tun/tun-datapath.js`);
const { PacketLoop } = await import(`${dist}/datapath/tun/loop.js`);
const { Wake } = await import(`${dist}/datapath/tun/wake.js`);
const { updateChecksum } = await import(`${dist}/wire/checksum.js`);
const { PASS } = await import(`${dist}/nat/verdict.js`);

const IPV4_TTL_AT = 8;
const IPV4_CHECKSUM_AT = 10;
const IPV6_HOP_LIMIT_AT = 7;

function receive({ view, at }) {
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

const datapath = new TunDatapath(openTunDevice(name));
const loop = new PacketLoop({
  datapath,
  wake: new Wake(),
  processor: { receive, advance() {} },
  control() {},
  onError: (error) => writeSync(2, `${error.stack}\n`),
});
writeSync(1, "ready\n");
const end = loop.run();
writeSync(1, `${JSON.stringify({ end, counters: datapath.counters })}\n`);

// Sets this network namespace up as the daemon would, says what it did, and holds it until SIGTERM.
// Arguments: folder of the compiled sources, JSON of { config, territory }.
import { writeSync } from "node:fs";

const [, , dist, json = "{}"] = process.argv;
const { openTunDevice } = await import(`${dist}/datapath/tun/device.js`);
const { Rtnetlink } = await import(`${dist}/datapath/tun/netlink/rtnetlink.js`);
const { HostSetup } = await import(`${dist}/datapath/tun/host/host-setup.js`);
const { describe } = await import(`${dist}/datapath/tun/host/host-change.js`);
const { planHost } = await import(`${dist}/datapath/tun/host/host-plan.js`);
const { findHostIssues } = await import(`${dist}/datapath/tun/host/host-issue.js`);
const { announce } = await import(`${dist}/datapath/tun/host/announcement.js`);
const { announced } = await import(`${dist}/datapath/tun/host/territory.js`);
const { routeMtu } = await import(`${dist}/datapath/tun/host/route-mtu.js`);
const { config, territory } = JSON.parse(json);
const say = (what) => writeSync(1, `${JSON.stringify(what)}\n`);

try {
  const rtnetlink = new Rtnetlink();
  const setup = new HostSetup(config.device, rtnetlink);
  const device = openTunDevice(config.device);
  const facts = setup.facts(territory);
  const planned = planHost(config, territory, facts).map(describe);
  const { made } = setup.apply(config, territory);
  const again = setup.apply(config, territory);
  process.on("SIGTERM", () => {
    const undone = setup.close();
    device.close();
    say({ undone: undone.map(describe) });
    process.exit(0);
  });
  say({
    offload: device.offload,
    leftovers: setup.leftovers.map(describe),
    issues: findHostIssues(config, territory, facts),
    planned,
    made: made.map(describe),
    madeAgain: again.made.length + again.undone.length,
    announced: announce(config, announced(territory), setup.facts(territory)),
    mtus: territory.servers.map(({ address }) => routeMtu(rtnetlink, address)),
  });
  setInterval(() => {}, 60_000);
} catch (error) {
  say({ error: error.name, code: error.code, message: error.message });
  process.exit(1);
}

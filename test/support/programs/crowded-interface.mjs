/**
 * `crowded-interface.mjs DIST DEVICE`: puts as many programs that do nothing on DEVICE (an index) as the kernel allows, so
 * that the next one is refused, and stays until it is killed.
 */
import { pathToFileURL } from "node:url";

const [dist, device] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(`${dist}/${path}`));
const { BpfProgram, TcxLink } = await load("datapath/ebpf/kernel/bpf.js");
const { assemble } = await load("datapath/ebpf/asm/assembler.js");
const { exit, mov } = await load("datapath/ebpf/asm/instruction.js");

/** Next program in line, or routing. */
const NEXT = -1;
const links = [];
try {
  for (;;) {
    // The same program twice would be refused for another reason.
    const program = BpfProgram.load("crowd", assemble([mov("r0", NEXT), exit], {}), "MIT");
    links.push(TcxLink.attach(program, Number(device)));
  }
} catch (error) {
  console.log(`${links.length} programs, then ${error.code}`);
}
setInterval(() => {}, 1000);

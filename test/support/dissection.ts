/** Foreign eyes on packets: what tshark makes of them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Program } from "../../src/cli/demo/program.ts";
import { pcapFileHeader, pcapRecord } from "../../src/wire/pcap.ts";

/** LINKTYPE_RAW: IP without anything in front. */
const RAW = 101;
const CHECKSUMS = ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"];
/** Everything that tshark finds wrong with a packet. */
const FAULTS = [
  "_ws.malformed || _ws.expert.severity >= 6291456",
  "ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0",
].map((filter) => `(${filter})`);

/**
 * @param fields - such as `quake.control.accept.port`
 * @param port - UDP or TCP port of the protocol, as in `udp.port==26000,quake`; default: tshark knows
 * @returns a line for each packet, its fields apart by blanks
 * @throws Error when tshark finds a packet malformed, in error or with a wrong checksum
 */
export async function dissect(
  packets: readonly Uint8Array[],
  fields: readonly string[],
  port?: string,
): Promise<string[]> {
  const directory = mkdtempSync(join(tmpdir(), "vsnat-dissection-"));
  try {
    const file = join(directory, "packets.pcap");
    const records = packets.map((bytes, at) => pcapRecord(at, bytes));
    writeFileSync(file, Buffer.concat([pcapFileHeader(RAW), ...records]));
    const options = [
      ...CHECKSUMS.flatMap((name) => ["-o", `${name}:TRUE`]),
      ...(port === undefined ? [] : ["-d", port]),
    ];
    const read = ["tshark", "-r", file, ...options];
    const faulty = await new Program([...read, "-Y", FAULTS.join(" || ")]).result();
    if (faulty.stdout !== "") throw new Error(`tshark finds faults:\n${faulty.stdout}`);
    const shown = [...read, "-T", "fields", "-E", "separator=/s", ...fields.flatMap((name) => ["-e", name])];
    const { stdout } = await new Program(shown).result();
    return stdout.trimEnd().split("\n");
  } finally {
    rmSync(directory, { recursive: true });
  }
}

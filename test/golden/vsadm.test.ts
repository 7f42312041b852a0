/**
 * vsadm against ipvsadm 1.31: a recorded session of the real program on a real kernel, command by command, with its
 * output and exit status. Files in vsadm/: the recordings.
 *
 * The session uses direct routing and tunnels, which vsnat refuses: those servers are masqueraded here, and so expected.
 */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { procServices } from "../../src/cli/proc-files.ts";
import { Administered, type Finished } from "../support/administered.ts";

interface Recorded extends Finished {
  readonly command: string;
}

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`vsadm/${name}`, import.meta.url), "utf8")) as T;

const SESSION = read<Recorded[]>("session.json");

/** The kernel's order of services is that of a hash table. */
function withServicesInAnyOrder(listing: string): string[] {
  const blocks = listing.split(/\n(?=TCP|UDP|SCTP|FWM)/).map((block) => block.trimEnd());
  return [blocks[0]!, ...blocks.slice(1).sort()];
}

describe("a recorded session", () => {
  const director = new Administered();
  let saved = "";
  const finished: Finished[] = [];

  /** The few commands of the session that are more than one program with its arguments. */
  const scripts: Record<string, () => Promise<Finished>> = {
    "ipvsadm -Sn > /tmp/saved; cat /tmp/saved": async () => {
      const result = await director.vsadm("-Sn");
      saved = result.stdout;
      return result;
    },
    "ipvsadm -R < /tmp/saved": () => director.vsadm("-R", saved),
    "ipvsadm -Sn | diff - /tmp/saved && echo same": async () => {
      const { stdout } = await director.vsadm("-Sn");
      return { status: 0, stdout: stdout === saved ? "same\n" : stdout, stderr: "" };
    },
    "printf 'A -t %s:80 -s rr\\nx y z\\n' 202.103.106.5 | ipvsadm -R": () =>
      director.vsadm("-R", "A -t 202.103.106.5:80 -s rr\nx y z\n"),
    "printf 'garbage\\n' | ipvsadm -R": () => director.vsadm("-R", "garbage\n"),
    "printf -- '-A -t %s:70 -s rr\\n\\n# comment\\n-a -t %s:70 -r %s:70 -m\\n' 202.103.106.5 202.103.106.5 172.16.0.2 | ipvsadm -R":
      () =>
        director.vsadm(
          "-R",
          "-A -t 202.103.106.5:70 -s rr\n\n# comment\n-a -t 202.103.106.5:70 -r 172.16.0.2:70 -m\n",
        ),
    "ipvsadm -C; ipvsadm -Ln; cat /proc/net/ip_vs": async () => {
      await director.vsadm("-C");
      const { stdout } = await director.vsadm("-Ln");
      return { status: 0, stdout: stdout + procServices(director.status), stderr: "" };
    },
  };

  const run = (command: string): Promise<Finished> => {
    const masqueraded = command.includes("-m -g") ? command : command.replace(/ -[gi](?= |$)/, " -m");
    return scripts[command]?.() ?? director.vsadm(masqueraded.replace(/^ipvsadm ?/, ""));
  };

  beforeAll(async () => {
    for (const { command } of SESSION) finished.push(await run(command));
  });

  const expected = ({ status, stdout, stderr }: Recorded): Finished => ({
    status,
    stdout: stdout
      .replace(/Route {2}|Tunnel /g, "Masq   ")
      .replace(/ -[gi] -w (\d+)( --tun-type ipip)?$/gm, " -m -w $1"),
    stderr: stderr.replaceAll("ipvsadm", "vsadm"),
  });

  test.each(SESSION.map((one, index) => [index, one.command] as const))("%i: %s", (index, command) => {
    const { status, stdout, stderr } = finished[index]!;
    const wanted = expected(SESSION[index]!);
    expect({ status, stderr }).toEqual({ status: wanted.status, stderr: wanted.stderr });
    if (command.includes("--nosort"))
      expect(withServicesInAnyOrder(stdout)).toEqual(withServicesInAnyOrder(wanted.stdout));
    else if (command.endsWith(" -h"))
      expect(stdout.startsWith(wanted.stdout.replaceAll("ipvsadm", "vsadm"))).toBe(true);
    else if (command.endsWith("--version")) expect(stdout).toBe(wanted.stdout.replace("ipvsadm", "vsadm"));
    else expect(stdout).toBe(wanted.stdout);
  });
});

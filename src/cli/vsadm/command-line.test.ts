/** Command lines against ipvsadm 1.31: every complaint here was made by the real program, on the same words. */
import { describe, expect, it } from "vitest";
import { seconds } from "../../base/environment.ts";
import type { Edit } from "../../control/edit.ts";
import type { ServiceKey } from "../../nat/configuration.ts";
import { type Command, parseCommandLine } from "./command-line.ts";
import { type Names, PortNames } from "./names.ts";
import { Refusal } from "./refusal.ts";

const PORT_NAMES = new PortNames(
  "# comment\nssh 22/tcp\nhttp\t80/tcp\twww # comment\ndomain 53/tcp\ndomain 53/udp\n",
);
const NAMES: Names = {
  addressOf: async (host) => (host === "localhost" ? "127.0.0.1" : undefined),
  hostOf: async () => undefined,
  portOf: (service, protocol) => PORT_NAMES.portOf(service, protocol),
  serviceOf: (port, protocol) => PORT_NAMES.serviceOf(port, protocol),
};
const V = "1.2.3.4:80";
const VIRTUAL: ServiceKey = { protocol: "tcp", address: "1.2.3.4", port: 80 };

/** Words are separated by blanks; `''` is an empty one, `_` stands for a blank inside one. */
const words = (line: string): string[] =>
  line
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => (word === "''" ? "" : word.replaceAll("_", " ")));
const parse = (line: string): Promise<Command> => parseCommandLine(words(line), NAMES);

async function complaint(line: string): Promise<{ message: string; exitCode: number }> {
  const error = await parse(line).then(
    (command) => new Error(`understood: ${JSON.stringify(command)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof Refusal)) throw error;
  return { message: error.message, exitCode: error.exitCode };
}

async function editOf(line: string): Promise<Edit> {
  const command = await parse(line);
  if (command.kind !== "edit") throw new Error(`${line} is no edit`);
  return command.edit;
}

const TRY_HELP = "Try `vsadm -h' or 'vsadm --help' for more information.";
const ILLEGAL_VIRTUAL = "illegal virtual server address[:port] specified";
const ILLEGAL_REAL = "illegal real server address[:port] specified";
const ZERO_PORT = "Zero port specified for non-persistent service";
const OTHER_FAMILY = "Different address family is allowed only for tunneling servers";

describe("complaints that end with 2", () => {
  it.each([
    [`-A -t ${V} -w=5`, "Illegal 'weight' option with the 'add-service' command"],
    ["-A -w 5", "You need to supply the 'service-address' option for the 'add-service' command"],
    ["-D", "You need to supply the 'service-address' option for the 'delete-service' command"],
    [`-a -t ${V} -i`, "You need to supply the 'real-server' option for the 'add-server' command"],
    [`-A -f 5 -t ${V}`, "multiple 'service-address' options specified"],
    ["-L -n -n", "multiple 'numeric' options specified"],
    ["-L -X --exact", "multiple 'exact' options specified"],
    [`-d -t ${V} -r 10.0.0.1 -m`, "Illegal 'forwarding-method' option with the 'delete-server' command"],
    ["-C -n", "Illegal 'numeric' option with the 'flush' command"],
    ["-S -n --exact", "Illegal 'exact' option with the 'save' command"],
    ["-S --json", "Illegal 'json' option with the 'save' command"],
    ["-L --mcast-interface eth0", "Illegal 'mcast-interface' option with the 'list' command"],
    ["--stop-daemon master --mcast-port 5", "Illegal 'mcast-port' option with the 'stop-daemon' command"],
    [`--set 1 2 3 -t ${V}`, "Illegal 'service-address' option with the 'set' command"],
    [`-L -c -t ${V}`, "The option 'service-address' conflicts with the 'connection' option in the 'list' command"],
    ["-L --timeout --daemon", "The option 'daemon' conflicts with the 'timeout' option in the 'list' command"],
    ["-L -c -n --stats", "options conflicts in the list command"],
    ["-L --timeout --rate", "options conflicts in the list command"],
    ["-L --daemon --persistent-conn", "options conflicts in the list command"],
    ["-A -L", "invalid option `-L'"],
    ["-AL", "invalid option `-AL'"],
    ["-L -h", "invalid option `-h'"],
    ["-A --start-daemon master", "invalid option `master'"],
    ["-A --start-daemon=master", "invalid option `--start-daemon=master'"],
    ["-L foo", "unexpected argument foo"],
    ["-L -- -n", "unexpected argument -n"],
    ["-L -", "unexpected argument -"],
    ["'' -L", "unexpected argument "],
    ["--set 1 2 3 4", "unexpected argument 4"],
    ["--set -n 1 2", "--set option requires 3 timeout values"],
    ["--set 1 2 x -n", "invalid timeout value `x' specified"],
    ["--set 1 2 2678401", "invalid timeout value `2678401' specified"],
    ["--start-daemon foo", "illegal start-daemon parameter specified"],
    ["--stop-daemon foo", "illegal start_daemon specified"],
    ["--start-daemon master --syncid 256", "illegal syncid specified"],
    ["--start-daemon master --mcast-group 10.0.0.1", "invalid IPv4 mcast-group `10.0.0.1'"],
    ["--start-daemon master --mcast-group ::1", "invalid IPv6 mcast-group `::1'"],
    ["--start-daemon master --mcast-port 0", "illegal mcast-port specified"],
    ["--start-daemon master --mcast-ttl 256", "illegal mcast-ttl specified"],
    ["--start-daemon master --sync-maxlen 65508", "illegal sync-maxlen specified"],
    ["-A -f 0", "invalid fwmark value `0' specified"],
    ["-A -f 4294967296", "invalid fwmark value `4294967296' specified"],
    ["-A -f 0x10", "invalid fwmark value `0x10' specified"],
    ["-A -6 -f 5", "-6 used before -f\n"],
    [`-A -t ${V} -p -M foo`, "illegal virtual server persistent mask specified"],
    ["-A -t [2001:db8::1]:80 -p -M 129", "illegal ipv6 netmask specified"],
    [`-A -t ${V} -pM 255.0.0.0`, "invalid timeout value `M' specified"],
    [`-A -t ${V} --persistent=`, "invalid timeout value `' specified"],
    [`-A -t ${V} -p -`, "unexpected argument -"],
    [`-A -t ${V} -s rr -b sh-port`, "incompatible scheduler flag `sh-port'"],
    [`-A -t ${V} -s sh -b sh-port,foo`, "invalid scheduler flag `foo'"],
    ["-L -b foo", "invalid scheduler flag `foo'"],
    ["-A -t 1.2.3.4 -o", ZERO_PORT],
    ["-E -t 1.2.3.4", ZERO_PORT],
    ["-A -t [1.2.3.4]:80", ZERO_PORT],
    [`-A -t ${V} -o`, "One-Packet Scheduling is only for UDP virtual services"],
    ["-A --sctp-service 1.2.3.4:80 -o", "One-Packet Scheduling is only for UDP virtual services"],
    [`-a -t ${V} -r 10.0.0.1 -w 5x`, "illegal weight specified"],
    [`-a -t ${V} -r 10.0.0.1 -w 2147483648`, "illegal weight specified"],
    [`-a -t ${V} -r 10.0.0.1 -x ''`, "illegal u_threshold specified"],
    [`-a -t ${V} -r 10.0.0.1 -y -1`, "illegal l_threshold specified"],
    [`-a -t ${V} -r [fd00::1]:80 -m`, OTHER_FAMILY],
    ["-a -f 5 -r [fd00::1]:80 -m", OTHER_FAMILY],
    [`-a -t ${V} -r 10.0.0.1 --tun-port 3`, "Tunnel options conflict with forward method"],
    [`-a -t ${V} -r 10.0.0.1 -i --tun-type foo`, "illegal tunnel type specified"],
    [`-a -t ${V} -r 10.0.0.1 -i --tun-port 0`, "illegal tunnel port specified"],
    [`-a -t ${V} -r 10.0.0.1 -i --tun-type gue`, "You need to supply the 'tun-port' option for the 'gue' tunnel type"],
    [`-a -t ${V} -r 10.0.0.1 -i --tun-csum`, "Illegal 'tun-csum' option with the 'ipip' tunnel type"],
    [`-a -t ${V} -r 10.0.0.1 -i --tun-type gue --tun-port 5 --tun-csum --tun-nocsum`,
      "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gue' tunnel type"],
    ...["80", "''", ":80", "1.2.3.4:", "1.2.3.4:-1", "1.2.3.4:HTTP", "1.2.3.08:80", "1..2:80", "1.16777216:80", "256.1:80",
      "[2001:db8::1]", "[::1:80", "[]:80", "1.2.3.4:80:", "1.2.3.4:80_", "0x:80"].map((text) => [`-A -t ${text}`, ILLEGAL_VIRTUAL]),
    ["-A --sctp-service 1.2.3.4:ssh", ILLEGAL_VIRTUAL],
    [`-a -t ${V} -r 10.0.0.1:80:90`, ILLEGAL_REAL],
    [`-a -r 10.0.0.1:http -t ${V} -m`, ILLEGAL_REAL],
  ])("%s", async (line, message) => {
    expect(await complaint(line!)).toEqual({ message, exitCode: 2 });
  }); // biome-ignore format: rows
});

describe("complaints that end with 255", () => {
  it.each([
    ["foo", TRY_HELP],
    ["-nL", TRY_HELP],
    ["-p 5", TRY_HELP],
    ["--start-daemon", TRY_HELP],
    ["-L --foo=bar", "--foo=bar: unknown option"],
    ["-Ln5", "-Ln5: unknown option"],
    ["-L --numeric=5", "--numeric=5: option does not take an argument"],
    ["-Ln=5", "-Ln=5: option does not take an argument"],
    [`-A -t ${V} -p -5`, "-5: unknown option"],
    ["-Aw", "-Aw: missing argument"],
    ["-A --weight", "--weight: missing argument"],
  ])("%s", async (line, message) => {
    expect(await complaint(line)).toEqual({ message, exitCode: 255 });
  });

  it.each(["-g", "-i", "-i --tun-type gue --tun-port 6080"])("%s, which vsnat cannot", async (method) => {
    const { message, exitCode } = await complaint(`-a -t ${V} -r 10.0.0.1 ${method}`);
    expect(message).toMatch(/^-[gi] \(.*\) is not supported: vsnat forwards by rewriting addresses, use -m$/);
    expect(exitCode).toBe(255);
  });
});

describe("services", () => {
  const add = (line: string) => editOf(`-A ${line}`);
  const service = (key: ServiceKey, more = {}) => ({
    kind: "add-service",
    service: { ...key, scheduler: "wlc", ...more },
  });
  const at = (address: string, port: number, protocol: ServiceKey["protocol"] = "tcp") => ({
    ...{ protocol, address, port },
  });

  it.each([
    [`-t ${V}`, VIRTUAL],
    [`-t${V}`, VIRTUAL],
    [`-t=${V}`, VIRTUAL],
    [`--tcp-service=${V} --scheduler=`, VIRTUAL],
    ["-t 1.2.3.4:www", VIRTUAL],
    ["-t 1.2.3.4:_+080", VIRTUAL],
    ["-t 1.2.3.4_foo:80", VIRTUAL],
    ["-t 0x7f.1:80", at("127.0.0.1", 80)],
    ["-t 010.2.3.0377:80", at("8.2.3.255", 80)],
    ["-t localhost:http", at("127.0.0.1", 80)],
    ["-u localhost:domain", at("127.0.0.1", 53, "udp")],
    ["--sctp-service 1.2.3.4:22", at("1.2.3.4", 22, "sctp")],
    ["-t [2001:DB8:0::1]:80", at("2001:db8::1", 80)],
    ["-f 010", { ...at("0.0.0.0", 0, "fwmark"), mark: 10 }],
    ["-f 4294967295 -6", { ...at("::", 0, "fwmark"), mark: 4_294_967_295 }],
  ])("%s", async (line, key) => {
    expect(await add(line)).toEqual(service(key));
  });

  const persistent = (timeout: number, netmask?: string) => ({
    persistence: { timeout: seconds(timeout), ...(netmask !== undefined && { netmask }) },
  });

  it.each([
    ["-p", persistent(360)],
    ["-p 300", persistent(300)],
    ["-p300", persistent(300)],
    ["--persistent=5 -M 24", persistent(5, "0.0.0.24")],
    ["-M 255.255.255 -p 0010", persistent(10, "255.255.0.255")],
    ["-p -M 255.255.255.255", persistent(360)],
    ["-M 255.255.255.0", {}],
    ["-p --pe sip", { persistence: { timeout: 360, engine: "sip" } }],
    ["-s=rr", { scheduler: "rr" }],
    ["-s sh -b sh-port,,flag-1,", { scheduler: "sh", schedulerFlags: ["sh-fallback", "sh-port"] }],
    ["-b mh-port -s mh", { scheduler: "mh", schedulerFlags: ["mh-port"] }],
    ["-s rr -b flag-3,flag-1", { scheduler: "rr", schedulerFlags: ["flag-1", "flag-3"] }],
  ])(`-t ${V} %s`, async (line, more) => {
    expect(await add(`-t ${V} ${line}`)).toEqual(service(VIRTUAL, more));
  });

  it("a mask belongs to the family of the service in front of it", async () => {
    const v6 = at("2001:db8::1", 80);
    expect(await add("-M 255.0.0.0 -t [2001:db8::1]:80 -p")).toEqual(service(v6, persistent(360)));
    expect(await add("-t [2001:db8::1]:80 -p -M 64x")).toEqual(service(v6, persistent(360, "64")));
    const mark = { ...at("::", 0, "fwmark"), mark: 5 };
    expect(await add("-f 5 -M 64 -6 -p")).toEqual(service(mark, persistent(360)));
  });

  it("ports may be a range, which ipvsadm does not know", async () => {
    expect(await add("-t 1.2.3.4:80-89")).toEqual(service(VIRTUAL, { lastPort: 89 }));
    for (const range of ["89-80", "0-80", "80-80", "80-65536"])
      expect(await complaint(`-A -t 1.2.3.4:${range}`)).toEqual({ message: ILLEGAL_VIRTUAL, exitCode: 2 });
  });

  it("-E, -D, -C, -Z, --set", async () => {
    const edited = { kind: "edit-service", service: { ...VIRTUAL, scheduler: "rr" } };
    expect(await editOf(`-E -t ${V} -s rr`)).toEqual(edited);
    expect(await editOf("-D -t 1.2.3.4")).toEqual({ kind: "delete-service", service: at("1.2.3.4", 0) });
    expect(await editOf("--clear")).toEqual({ kind: "clear" });
    expect(await parse(`-Z -t ${V}`)).toEqual({ kind: "zero", service: VIRTUAL });
    expect(await parse("-Z")).toEqual({ kind: "zero", service: undefined });
    const timeouts = { kind: "set-timeouts", tcp: 900, tcpFin: 0, udp: 2_678_400 };
    expect(await editOf("--set 900 0 2678400")).toEqual(timeouts);
  });
});

describe("servers", () => {
  const server = (address: string, port: number, weight = 1, upperThreshold = 0, lowerThreshold = 0) => ({
    ...{ address, port, weight, upperThreshold, lowerThreshold },
  });

  it.each([
    ["-r 10.0.0.1:8080 -m", server("10.0.0.1", 8080)],
    ["-r 10.0.0.1 -m", server("10.0.0.1", 80)],
    ["-r 10.0.0.1:8080", server("10.0.0.1", 8080)], // ipvsadm: direct routing, to port 80
    ["-r localhost:ssh -mw 5 -x 20 -y +10", server("127.0.0.1", 22, 5, 20, 10)],
    ["-r 10.0.0.1 -m -w 2147483647", server("10.0.0.1", 80, 2_147_483_647)],
  ])(`-t ${V} %s`, async (line, wanted) => {
    expect(await editOf(`-a -t ${V} ${line}`)).toEqual({
      ...{ kind: "add-server", service: VIRTUAL, server: wanted },
    });
    expect(await editOf(`-e -t ${V} ${line}`)).toMatchObject({ kind: "edit-server", server: wanted });
  });

  it("of a mark may have names of TCP ports, and no port at all", async () => {
    expect(await editOf("-a -f 5 -r 10.0.0.1:http -m")).toMatchObject({ server: server("10.0.0.1", 80) });
    expect(await editOf("-a -f 5 -r 10.0.0.1 -m")).toMatchObject({ server: server("10.0.0.1", 0) });
    expect(await editOf("-a -f 5 -6 -r fd00::1 -m")).toMatchObject({ server: server("fd00::1", 0) });
  });

  it("-d", async () => {
    expect(await editOf(`-d -t ${V} -r 10.0.0.1:81`)).toEqual({
      ...{ kind: "delete-server", service: VIRTUAL, server: { address: "10.0.0.1", port: 81 } },
    });
  });
});

describe("lists and daemons", () => {
  it.each([
    ["-L", { kind: "services" }, {}],
    ["-lnc --persistent-conn", { kind: "connections" }, { isNumeric: true, variant: "persistent-conn" }],
    [`-Lnt ${V} --sort --sort`, { kind: "service", service: VIRTUAL }, { isNumeric: true }],
    [
      "-L --rate --stats -X --nosort",
      { kind: "services" },
      { variant: "stats", isExact: true, isUnsorted: true },
    ],
    ["--list --tun-info --persistent-conn", { kind: "services" }, { variant: "persistent-conn" }],
    ["-L --tun-info --timeout", { kind: "timeout" }, { variant: "tun-info" }],
    ["-L --daemon --syncid 3 --json", { kind: "daemon" }, { isJson: true }],
  ])("%s", async (line, what, format) => {
    const plain = { variant: "plain", isNumeric: false, isExact: false, isUnsorted: false, isJson: false };
    expect(await parse(line)).toEqual({ kind: "list", what, format: { ...plain, ...format } });
  });

  it.each([
    ["--start-daemon master", { role: "master", interface: "eth0" }],
    ["--start-daemon=backup --mcast-interface eth1 --syncid 7",
      { role: "backup", interface: "eth1", syncId: 7 }],
    ["--start-daemon master --mcast-group FF02::1 --mcast-port 5 --mcast-ttl 2 --sync-maxlen 1",
      { role: "master", interface: "eth0", group: "FF02::1", port: 5, ttl: 2, maxLength: 1 }],
  ])("%s", async (line, daemon) => {
    expect(await parse(line)).toEqual({ kind: "start-daemon", daemon });
  }); // biome-ignore format: rows

  it("--stop-daemon", async () => {
    const stop = { kind: "stop-daemon", role: "backup" };
    expect(await parse("--stop-daemon backup")).toEqual({ ...stop, syncId: undefined });
    expect(await parse("--stop-daemon=backup --syncid=7")).toEqual({ ...stop, syncId: 7 });
  });

  it("help and version come before everything behind them", async () => {
    expect(await parse("-h foo -q")).toEqual({ kind: "help" });
    expect(await parse("-v -x")).toEqual({ kind: "version" });
  });
});

/** `vsnat doctor`: what this kernel and these privileges allow, what is missing, and what to do about it. */
import { Command } from "commander";
import { planOfHost } from "../control/host.ts";
import { whyNoFastPath } from "../datapath/ebpf/probe.ts";
import { type HostProbe, probeHost } from "../datapath/tun/probe.ts";
import { configOrFailure } from "./config-report.ts";
import { ExitCode } from "./exit-code.ts";
import { painter, printJson } from "./terminal.ts";

/** `ok`: works. `limited`: works with less. `missing`: the director cannot run without it. */
type Verdict = "ok" | "limited" | "missing";

interface Finding {
  readonly verdict: Verdict;
  readonly subject: string;
  readonly finding: string;
  /** What to do; absent when there is nothing. */
  readonly advice?: string;
}

export const command = (): Command =>
  new Command("doctor")
    .summary("say what works here, what is missing and what to do")
    .description(
      "Look at kernel and privileges, and with -c at a configuration on this host: what works, what is missing,\n" +
        "what to do. Makes a TUN device for a moment, changes nothing else. Status 1 if the director cannot run.",
    )
    .option("-c, --config <file>", "also look whether this host is fit for a configuration")
    .option("--json", "print the findings as JSON")
    .addHelpText("after", "\nExamples:\n  vsnat doctor\n  vsnat doctor -c /etc/vsnat/vsnat.yaml")
    .action(doctor);

function doctor({ config, json }: { readonly config?: string; readonly json?: boolean }): void {
  const probe = probeHost();
  const findings = [
    ...examine(probe),
    fastPath(whyNoFastPath()),
    ...(config === undefined ? [] : examineConfig(config)),
  ];
  const canRun = findings.every(({ verdict }) => verdict !== "missing");
  if (!canRun) process.exitCode = ExitCode.failure;
  if (json) {
    printJson({ canRun, findings, probe });
    return;
  }
  const paint = painter();
  const colours = { ok: "green", limited: "yellow", missing: "red" } as const;
  for (const { verdict, subject, finding, advice } of findings) {
    process.stdout.write(`${paint(colours[verdict], verdict.padEnd(8))} ${subject}: ${finding}\n`);
    if (advice !== undefined) process.stdout.write(`${" ".repeat(9)}${advice}\n`);
  }
  const summary = canRun
    ? paint("green", "The director can run here.")
    : paint("red", "The director cannot run here yet.");
  process.stdout.write(`\n${summary}\n`);
}

/** Findings about kernel and privileges. Pure, so that every case can be tested. */
export function examine(probe: HostProbe): Finding[] {
  return [
    { verdict: "ok", subject: "kernel", finding: `Linux ${probe.kernelVersion}` },
    tunDevice(probe),
    privileges(probe),
    fastTransfers(probe),
    probe.hasPolicyRules
      ? { verdict: "ok", subject: "policy routing", finding: "available" }
      : {
          verdict: "missing",
          subject: "policy routing",
          finding: "the kernel has none",
          advice: "use a kernel with CONFIG_IP_MULTIPLE_TABLES",
        },
    forwarding("IPv4 forwarding", probe.canForwardIpv4, "net.ipv4.ip_forward", "missing"),
    probe.hasIpv6
      ? forwarding("IPv6 forwarding", probe.canForwardIpv6, "net.ipv6.conf.all.forwarding", "limited")
      : { verdict: "limited", subject: "IPv6", finding: "not in this kernel, or switched off; IPv4 works" },
    probe.hasNetRaw
      ? {
          verdict: "ok",
          subject: "announcements",
          finding: "gratuitous ARP and neighbour advertisements can be sent",
        }
      : {
          verdict: "limited",
          subject: "announcements",
          finding: "not possible without CAP_NET_RAW; after a take-over neighbours find the director later",
          advice: "grant CAP_NET_RAW",
        },
    ...(probe.isInUserNamespace
      ? [
          {
            verdict: "limited" as const,
            subject: "user namespace",
            finding:
              "root here is not root of the machine; everything but eBPF works, in network namespaces of its own",
          },
        ]
      : []),
  ];
}

export function fastPath(whyNot: string | undefined): Finding {
  const subject = "fast path";
  if (whyNot === undefined)
    return { verdict: "ok", subject, finding: "known connections can stay inside the kernel (eBPF)" };
  return { verdict: "limited", subject, finding: `none, every packet takes the slow path: ${whyNot}` };
}

function tunDevice({ canOpenTun, canCreateTun, hasNetAdmin }: HostProbe): Finding {
  const subject = "TUN";
  if (canOpenTun === "yes" && canCreateTun === "yes")
    return { verdict: "ok", subject, finding: "a device can be made" };
  if (canOpenTun !== "yes") {
    const advice =
      canOpenTun === "EACCES" || canOpenTun === "EPERM"
        ? "run as root, or change its mode (0666 is usual); in a container, allow it: --device /dev/net/tun"
        : "load the driver (modprobe tun); in a container, give it the device: --device /dev/net/tun";
    return { verdict: "missing", subject, finding: `/dev/net/tun cannot be opened (${canOpenTun})`, advice };
  }
  const advice = hasNetAdmin
    ? "see the kernel's log"
    : "run as root, grant CAP_NET_ADMIN, or try it in a namespace of your own: unshare -Urn vsnat run";
  return { verdict: "missing", subject, finding: `a device cannot be made (${canCreateTun})`, advice };
}

const privileges = ({ hasNetAdmin }: HostProbe): Finding =>
  hasNetAdmin
    ? { verdict: "ok", subject: "privileges", finding: "CAP_NET_ADMIN: device, routes and rules can be made" }
    : {
        verdict: "missing",
        subject: "privileges",
        finding: "no CAP_NET_ADMIN, which device, routes and rules need",
        advice: "run as root, or in a namespace of your own: unshare -Urn vsnat run",
      };

function fastTransfers({ offload }: HostProbe): Finding {
  const subject = "large packets";
  switch (offload) {
    case "udp":
      return { verdict: "ok", subject, finding: "TCP and UDP streams pass in pieces of up to 64 KiB" };
    case "tcp":
      return {
        verdict: "ok",
        subject,
        finding: "TCP streams pass in pieces of up to 64 KiB; UDP needs Linux 6.2",
      };
    case "checksum":
    case "none":
      return {
        verdict: "limited",
        subject,
        finding: "not offered by this kernel: bulk transfers are slower",
      };
    case undefined:
      return { verdict: "limited", subject, finding: "not known, because no device could be made" };
  }
}

function forwarding(subject: string, can: boolean, sysctl: string, otherwise: Verdict): Finding {
  if (can) return { verdict: "ok", subject, finding: "on, or can be switched on" };
  const finding = `off, and ${sysctl} cannot be written`;
  return { verdict: otherwise, subject, finding, advice: `set it outside: sysctl -w ${sysctl}=1` };
}

function examineConfig(file: string): Finding[] {
  const { issues } = planOfHost(configOrFailure(file));
  if (issues.length === 0) return [{ verdict: "ok", subject: file, finding: "fits this host" }];
  const verdicts = { error: "missing", warning: "limited", note: "ok" } as const;
  return issues.map(({ severity, message }) => ({
    verdict: verdicts[severity],
    subject: file,
    finding: message,
  }));
}

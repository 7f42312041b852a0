/** The rules that `ipvsadm -S` prints and -R reads: one command line each. */
import type { ServiceStatus } from "../../control/director-status.ts";
import { type Label, protocolOf, serviceEndpoint } from "./listing.ts";
import { inOrder } from "./scheduler-flags.ts";
import { byDestination, byService } from "./sorting.ts";

const SERVICE_OPTIONS = { tcp: "-t", udp: "-u", sctp: "--sctp-service" } as const;

/** Thresholds are not among them: ipvsadm does not save them. */
export const savedRules = (services: readonly ServiceStatus[], label: Label): string[] =>
  services.toSorted(byService).flatMap((service) => {
    const name = serviceText(service, label);
    const servers = service.destinations.toSorted(byDestination);
    return [
      `-A ${name}${attributes(service)}`,
      ...servers.map(
        (server) => `-a ${name} -r ${label(server, protocolOf(service))} -m -w ${server.weight}`,
      ),
    ];
  });

const serviceText = (service: ServiceStatus, label: Label): string =>
  service.protocol === "fwmark"
    ? `-f ${service.mark}${service.address.includes(":") ? " -6" : ""}`
    : `${SERVICE_OPTIONS[service.protocol]} ${serviceEndpoint(service, label)}`;

function attributes(service: ServiceStatus): string {
  const { scheduler, persistence, isOnePacket } = service;
  const flags = inOrder(service.schedulerFlags ?? [], scheduler);
  const { timeout, netmask, engine } = persistence ?? {};
  return [
    ` -s ${scheduler}`,
    timeout === undefined ? "" : ` -p ${timeout}`,
    netmask === undefined ? "" : ` -M ${netmask}`,
    engine === undefined ? "" : ` --pe ${engine}`,
    isOnePacket ? " -o" : "",
    flags.length === 0 ? "" : ` -b ${flags.join(",")}`,
  ].join("");
}

/** How endpoints are written in lists: in numbers with -n, else in the system's names. */
import { formatEndpoint } from "../../control/config/endpoint.ts";
import type { ConnectionStatus, Endpoint, ServiceStatus } from "../../control/director-status.ts";
import { bracketed } from "../../wire/address.ts";
import type { Label } from "./listing.ts";
import type { Names } from "./names.ts";

export const numericLabel: Label = ({ address, port }) => formatEndpoint(address, port);

/** Ask for the names of everything that will be shown, each address once. */
export async function namedLabel(endpoints: readonly Endpoint[], names: Names): Promise<Label> {
  const addresses = [...new Set(endpoints.map(({ address }) => address))].filter((one) => !one.includes(":"));
  const hosts = new Map(
    await Promise.all(addresses.map(async (address) => [address, await names.hostOf(address)] as const)),
  );
  return ({ address, port }, protocol) => {
    const host = hosts.get(address) ?? address;
    const service = protocol && names.serviceOf(port, protocol);
    return service === undefined ? formatEndpoint(host, port) : `${bracketed(host)}:${service}`;
  };
}

/** Everything with an address in a list of services. A mark service is not shown by its address. */
export const endpointsOfServices = (services: readonly ServiceStatus[]): Endpoint[] =>
  services.flatMap((service) => [
    ...(service.protocol === "fwmark" ? [] : [service]),
    ...service.destinations,
  ]);

export const endpointsOfConnections = (connections: readonly ConnectionStatus[]): Endpoint[] =>
  connections.flatMap(({ client, virtual, destination }) => [client, virtual, destination]);

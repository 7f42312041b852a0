/** Addresses of interfaces over rtnetlink (Linux: include/uapi/linux/if_addr.h, struct ifaddrmsg). */
import type { Family } from "../../../wire/address.ts";
import { Attributes, fromKernelFamily, MessageWriter, RequestFlag } from "./message.ts";

const RTM_GETADDR = 22;
const IFADDRMSG_BYTES = 8;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;

export interface InterfaceAddress {
  readonly family: Family;
  readonly address: string;
  readonly prefixLength: number;
  /** Index of the interface. */
  readonly device: number;
}

export const dumpAddresses = (): MessageWriter =>
  new MessageWriter(RTM_GETADDR, RequestFlag.dump).u8(0, 0, 0, 0).u32(0);

export function decodeAddress(body: DataView): InterfaceAddress | undefined {
  if (body.byteLength < IFADDRMSG_BYTES) return undefined;
  const family = fromKernelFamily(body.getUint8(0));
  const attributes = new Attributes(body, IFADDRMSG_BYTES);
  // On point-to-point links IFA_ADDRESS is the other end.
  const address = attributes.address(IFA_LOCAL) ?? attributes.address(IFA_ADDRESS);
  if (family === undefined || address === undefined) return undefined;
  return { family, address, prefixLength: body.getUint8(1), device: body.getUint32(4, true) };
}

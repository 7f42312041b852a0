/** UDP multicast between directors: a socket for sending, a socket for receiving. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

export interface SyncSegment {
  /** Name of the interface, and the director's own address on it. */
  readonly interface: string;
  readonly address: string;
  readonly family: 4 | 6;
  readonly group: string;
  readonly port: number;
  /** Hops a message may take. */
  readonly ttl: number;
}

const SOCKET_TYPE = { 4: "udp4", 6: "udp6" } as const;
/** Linux counts its own bookkeeping in, and shows twice what was asked for. */
const SHOWN_PER_ASKED = 2;
/** For the messages that come while nobody reads. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;

/** @throws an Error of the system: with `code` and `syscall` */
export function openSender(segment: SyncSegment): Promise<Socket> {
  return ready(createSocket(SOCKET_TYPE[segment.family]), async (socket) => {
    socket.bind({ address: segment.address });
    await once(socket, "listening");
    socket.setMulticastInterface(interfaceOf(segment));
    socket.setMulticastTTL(segment.ttl);
    socket.setMulticastLoopback(false);
    socket.connect(segment.port, groupOf(segment));
    await once(socket, "connect");
  });
}

/** @throws an Error of the system: with `code` and `syscall` */
export function openReceiver(segment: SyncSegment): Promise<Socket> {
  return ready(createSocket({ type: SOCKET_TYPE[segment.family], reuseAddr: true }), async (socket) => {
    socket.bind({ address: groupOf(segment), port: segment.port });
    await once(socket, "listening");
    socket.addMembership(segment.group, interfaceOf(segment));
  });
}

/**
 * How to give the socket of a sender another buffer.
 * @returns a function that takes bytes, of which the system gives what net.core.wmem_max allows; 0: as it was opened
 */
export function sendBufferOf(socket: Socket): (bytes: number) => void {
  const ownBytes = socket.getSendBufferSize() / SHOWN_PER_ASKED;
  return (bytes) => socket.setSendBufferSize(bytes === 0 ? ownBytes : bytes);
}

/** Likewise of a receiver: net.core.rmem_max; 0: 1 MiB. */
export function receiveBufferOf(socket: Socket): (bytes: number) => void {
  return (bytes) => socket.setRecvBufferSize(bytes === 0 ? RECEIVE_BUFFER_BYTES : bytes);
}

async function ready(socket: Socket, prepare: (socket: Socket) => Promise<void>): Promise<Socket> {
  try {
    await prepare(socket);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** How the system is told of the interface: by an address of its own, in IPv6 by its name. */
const interfaceOf = ({ family, address, interface: name }: SyncSegment): string =>
  family === 4 ? address : `::%${name}`;

/** Groups of IPv6 are many: one on each interface. */
const groupOf = ({ family, group, interface: name }: SyncSegment): string =>
  family === 4 ? group : `${group}%${name}`;

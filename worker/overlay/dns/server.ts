/** The sockets of one container's resolver: takes questions, gives answers. */
import type { Socket as DatagramSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { ResolverSockets } from '../../../node-engine/network/index.ts';
import { FrameReader, frame } from './frames.ts';
import type { Transport } from './upstream.ts';

/** Of a connection without a question. */
const IDLE_MS = 10_000;
const MAX_CONNECTIONS = 64;

/** Resolves to the answer, or undefined to say nothing. Never rejects. */
export type Answerer = (message: Buffer, transport: Transport) => Promise<Buffer | undefined>;

/** Serves on sockets that are bound already; they are closed by `close`. */
export function serveDns(sockets: ResolverSockets, answer: Answerer): { close(): void } {
  const datagrams = serveUdp(sockets.udp, answer);
  const connections = new Set<Socket>();
  const server = serveTcp(sockets.tcp, answer, connections);
  return {
    close() {
      datagrams.close();
      server.close();
      for (const connection of connections) connection.destroy();
    },
  };
}

function serveUdp(fd: number, answer: Answerer): DatagramSocket {
  const socket = createSocket('udp4');
  let open = true;
  socket.on('close', () => (open = false));
  // A client that has gone (ICMP port unreachable) is no matter for the others.
  socket.on('error', () => {});
  socket.on('message', (message, { address, port }) => {
    void answer(message, 'udp').then((reply) => {
      if (reply && open) socket.send(reply, port, address, () => {});
    });
  });
  socket.bind({ fd });
  return socket;
}

function serveTcp(fd: number, answer: Answerer, connections: Set<Socket>): Server {
  const server = createServer((connection) => {
    const reader = new FrameReader();
    connections.add(connection);
    connection.on('close', () => connections.delete(connection));
    connection.on('error', () => {});
    connection.setTimeout(IDLE_MS, () => connection.destroy());
    connection.on('data', (part) => {
      for (const message of reader.push(part))
        void answer(message, 'tcp').then((reply) => {
          if (reply && connection.writable) connection.write(frame(reply));
        });
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('error', () => {});
  server.listen({ fd });
  return server;
}

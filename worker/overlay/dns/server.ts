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

/** Gives the answer, at once or later, or undefined to say nothing. Never throws or rejects. */
export type Answerer = (message: Buffer, transport: Transport) => Buffer | undefined | Promise<Buffer | undefined>;

/** Serves on sockets that are bound already; they are closed by `close`. */
export function serveDns(sockets: Pick<ResolverSockets, 'udp' | 'tcp'>, answer: Answerer): { close(): void } {
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
  // Whoever asks is known by address: Node would hand even that to its own resolver first.
  const socket = createSocket({ type: 'udp4', lookup: (address, _options, found) => found(null, address, 4) });
  let open = true;
  socket.on('close', () => (open = false));
  // A client that has gone (ICMP port unreachable) is no matter for the others.
  socket.on('error', () => {});
  const ignoreFailure = (): void => {};
  socket.on('message', (message, { address, port }) => {
    const send = (reply: Buffer | undefined): void => {
      if (reply && open) socket.send(reply, port, address, ignoreFailure);
    };
    const reply = answer(message, 'udp');
    if (reply instanceof Promise) void reply.then(send);
    else send(reply);
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
        void Promise.resolve(answer(message, 'tcp')).then((reply) => {
          if (reply && connection.writable) connection.write(frame(reply));
        });
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('error', () => {});
  server.listen({ fd });
  return server;
}

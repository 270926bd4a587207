import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import { probeSocket } from '../local-node/client.ts';
import { PREFACE } from '../../proto/rpc/local/frames.ts';
import type { LocalServer } from '../../proto/rpc/local/server.ts';
import type { RpcServer } from '../../proto/rpc/server.ts';

/** Longest path of a unix socket (sun_path, unix(7)), without its closing zero. */
const LONGEST_SOCKET_PATH = 107;

/** What answers on the socket: gRPC for every client, the local protocol for our own commands. */
export interface SocketServers {
  readonly rpc: RpcServer;
  readonly local: LocalServer;
}

/**
 * Serves on a unix socket that only root can open. A socket that nobody serves any more is replaced.
 * @param onCaller called when a command connects
 * @returns the listening server; closing it ends no connection
 * @throws IN_USE when another daemon serves it, INVALID_INPUT when the path is too long
 */
export async function listenOnSocket(
  servers: SocketServers,
  path: string,
  onCaller: () => void = () => undefined,
): Promise<Server> {
  if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `listening on "${path}": the path has more than ${LONGEST_SOCKET_PATH} bytes`,
      {
        hint: 'choose a shorter --run-dir',
      },
    );
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  if ((await probeSocket(path)) === 'answers') {
    throw new TsswarmError('IN_USE', `listening on "${path}": another tsswarmd serves it`, {
      hint: 'see "tsswarm status"',
    });
  }
  rmSync(path, { force: true });
  const server = createServer((socket) => {
    onCaller();
    accept(servers, socket);
  });
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
  return server;
}

/** Hands a connection to the server whose protocol it speaks: they differ in the first byte. */
function accept({ rpc, local }: SocketServers, socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first: Buffer) => {
    socket.pause();
    if (first[0] === PREFACE[0]) return local.serve(socket, first);
    socket.unshift(first);
    rpc.serve(socket);
  });
}

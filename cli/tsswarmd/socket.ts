import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import type { RpcServer } from '../../proto/rpc/server.ts';

/** Longest path of a unix socket (sun_path, unix(7)), without its closing zero. */
const LONGEST_SOCKET_PATH = 107;

/**
 * Serves on a unix socket that only root can open. A socket that nobody serves any more is replaced.
 * @throws IN_USE when another daemon serves it, INVALID_INPUT when the path is too long
 */
export async function listenOnSocket(server: RpcServer, path: string): Promise<void> {
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
  if (await answers(path)) {
    throw new TsswarmError('IN_USE', `listening on "${path}": another tsswarmd serves it`, {
      hint: 'see "tsswarm status"',
    });
  }
  rmSync(path, { force: true });
  const before = process.umask(0o177);
  try {
    await server.listen(`unix:${path}`);
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

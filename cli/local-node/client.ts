import { connect as connectSocket } from 'node:net';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { Connection, ServiceClient } from '../../proto/rpc/client.ts';
import type { controlService, daemonService, imagesService, tasksService } from '../../proto/rpc/services.ts';
import type { NodePlace } from './place.ts';

/** What a command talks to: the services of one node over its socket. */
export interface NodeClient {
  readonly control: ServiceClient<typeof controlService>;
  readonly daemon: ServiceClient<typeof daemonService>;
  readonly tasks: ServiceClient<typeof tasksService>;
  readonly images: ServiceClient<typeof imagesService>;
  close(): void;
}

/**
 * Connects to the node at `place`.
 * @throws UNAVAILABLE when none answers there, PERMISSION_DENIED when the socket may not be used
 */
export async function openNode(place: NodePlace): Promise<NodeClient> {
  const state = await probeSocket(place.socket);
  if (state === 'absent') {
    throw new TsswarmError('UNAVAILABLE', `connecting to the node at "${place.socket}": none is running there`, {
      hint: 'start one with "tsswarm init"',
    });
  }
  if (state === 'forbidden') {
    throw new TsswarmError('PERMISSION_DENIED', `connecting to the node at "${place.socket}": permission denied`, {
      hint: 'run the command as root, for example with sudo',
    });
  }
  // Loaded here: commands that need no node (config, version, --help) start faster without gRPC.
  const { connect, services } = await import('./rpc.ts');
  const connection: Connection = connect(`unix:${place.socket}`);
  return {
    control: connection.service(services.controlService),
    daemon: connection.service(services.daemonService),
    tasks: connection.service(services.tasksService),
    images: connection.service(services.imagesService),
    close: () => connection.close(),
  };
}

/** Whether a process accepts connections on a unix socket. */
export function probeSocket(path: string): Promise<'answers' | 'absent' | 'forbidden'> {
  return new Promise((resolve) => {
    const socket = connectSocket(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('answers');
    });
    socket.once('error', (error) => {
      resolve(errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM' ? 'forbidden' : 'absent');
    });
  });
}

import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { Connection, ServiceClient } from '../../proto/rpc/client.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { OtherShapeError } from '../../proto/rpc/local/frames.ts';
import {
  controlService,
  daemonService,
  imagesService,
  membershipService,
  tasksService,
} from '../../proto/rpc/services.ts';
import { withSingleEntries } from './log-entries.ts';
import { withWholeLists } from './pages.ts';
import type { NodePlace } from './place.ts';

/** What a command talks to: the services of one node over its socket. */
export interface NodeClient {
  readonly control: ServiceClient<typeof controlService>;
  readonly daemon: ServiceClient<typeof daemonService>;
  readonly tasks: ServiceClient<typeof tasksService>;
  readonly images: ServiceClient<typeof imagesService>;
  readonly membership: ServiceClient<typeof membershipService>;
  close(): void;
}

/**
 * Connects to the node at `place`.
 * @throws UNAVAILABLE when none answers there, PERMISSION_DENIED when the socket may not be used
 */
export async function openNode(place: NodePlace): Promise<NodeClient> {
  const node = await tryOpenNode(place);
  if (node !== undefined) return node;
  throw new TsswarmError('UNAVAILABLE', `connecting to the node at "${place.socket}": none is running there`, {
    hint: 'start one with "tsswarm init", or join the cluster of another machine with "tsswarm join"',
  });
}

/** As {@link openNode}; undefined when no node answers there. */
export async function tryOpenNode(place: NodePlace): Promise<NodeClient | undefined> {
  const local = connectLocal(place.socket);
  let connection: Connection = local;
  try {
    await local.ready();
  } catch (error) {
    if (error instanceof OtherShapeError) {
      // The node is of another version than this command: they understand each other by gRPC, field by field.
      connection = (await import('../../proto/rpc/client.ts')).connect(`unix:${place.socket}`);
    } else if (!isForbidden(error)) return undefined;
    else {
      throw new TsswarmError('PERMISSION_DENIED', `connecting to the node at "${place.socket}": permission denied`, {
        hint: 'run the command as root, for example with sudo',
      });
    }
  }
  return {
    control: withWholeLists(connection.service(controlService)),
    daemon: connection.service(daemonService),
    tasks: withSingleEntries(connection.service(tasksService)),
    images: connection.service(imagesService),
    membership: connection.service(membershipService),
    close: () => connection.close(),
  };
}

const isForbidden = (error: unknown): boolean => errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM';

/** A node that has not said a word by then is there, and has other troubles. */
const PROBE_MS = 5_000;

/** Whether a node answers on a unix socket: one that was killed may have its socket open still, and never will. */
export async function probeSocket(path: string): Promise<'answers' | 'absent' | 'forbidden'> {
  const connection = connectLocal(path);
  let patience: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    patience = setTimeout(resolve, PROBE_MS);
  });
  try {
    await Promise.race([connection.ready(), late]);
    return 'answers';
  } catch (error) {
    if (error instanceof OtherShapeError) return 'answers';
    return isForbidden(error) ? 'forbidden' : 'absent';
  } finally {
    clearTimeout(patience);
    connection.close();
  }
}

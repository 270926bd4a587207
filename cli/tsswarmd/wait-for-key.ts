import {
  controlService,
  daemonService,
  dispatcherService,
  imagesService,
  membershipService,
  tasksService,
} from '../../proto/rpc/services.ts';
import type { Door } from './door.ts';
import { late } from './services/late.ts';
import { lockedError, lockedHandlers } from './services/locked.ts';
import type { LockedOptions } from './services/locked.ts';

/** What a locked node refuses. */
const REFUSED = [controlService, dispatcherService, membershipService, tasksService, imagesService];

export interface WaitOptions extends Omit<LockedOptions, 'unlocked'> {
  readonly door: Door;
  /** The socket answers. */
  readonly answering: () => void;
  /** Resolves when the process is to end. */
  readonly stopping: Promise<void>;
}

/** Answers on the socket of a locked node until the right key is given, or the process is to end. */
export async function waitForKey(options: WaitOptions): Promise<'unlocked' | 'stopping'> {
  const { door, flags, version, logger } = options;
  const unlocked = Promise.withResolvers<void>();
  await door.open((serve) => {
    serve(daemonService, lockedHandlers({ ...options, unlocked: unlocked.resolve }));
    for (const definition of REFUSED) serve(definition, late(definition, refuse) as never);
  });
  logger.warn('locked: the unlock key is needed', { socket: flags.socket, version, hint: 'tsswarm unlock' });
  options.answering();
  return Promise.race([
    unlocked.promise.then(() => 'unlocked' as const),
    options.stopping.then(() => 'stopping' as const),
  ]);
}

function refuse(): never {
  throw lockedError();
}

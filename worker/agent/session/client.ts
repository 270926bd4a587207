import type { NodeId } from '../../../base/ids.ts';
import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import { backoffMs, sleep } from '../../../base/async.ts';
import { passAwake } from '../../../base/awake.ts';
import { messageOf } from '../../../base/errors.ts';
import { jitter } from '../../../base/random.ts';
import type { ServiceClient } from '../../../proto/rpc/client.ts';
import type { dispatcherService } from '../../../proto/rpc/services.ts';
import type { BindSources } from '../bind-sources.ts';
import type { LeaseKeeper } from '../lease/loop.ts';
import type { AssignmentChange, NodeDescription, NodeOverlay, TaskStatusUpdate } from '../../../proto/types/index.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2000;
/** How much longer than a period a manager may take to answer a heartbeat. */
const ANSWER_MS = 500;
/** What has to be left of the lease for another manager to be found: one that says nothing is waited for in vain for 3 s. */
const ANOTHER_MS = 3500;
/** How long the managers are waited for at the end. */
const GOODBYE_MS = 500;

/** What the agent has to say beside task states. */
export interface Report {
  readonly updates: readonly TaskStatusUpdate[];
  readonly removedVolumes: readonly string[];
  readonly removedNetworks: readonly string[];
}

export interface SessionOptions {
  readonly dispatcher: ServiceClient<typeof dispatcherService>;
  readonly nodeId: NodeId;
  readonly describe: () => NodeDescription;
  /** Keys of the images that are here now. */
  readonly images: () => readonly string[];
  /** Which paths are here; absent: this node does not say. */
  readonly bindSources?: Pick<BindSources, 'known' | 'asked' | 'want' | 'look'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Each answer of a manager renews it. */
  readonly lease: Pick<LeaseKeeper, 'now' | 'claim' | 'renew'>;
  /** A message of the assignments stream. */
  readonly onChange: (change: AssignmentChange) => void;
  /** What was assigned in this session may have been given to another node since: only a new session tells. */
  readonly isOutdated: () => boolean;
  /** A session has begun: everything that was said before must be said again. */
  readonly onSession: () => void;
}

/** The connection to whichever manager leads: held for ever, made anew when it breaks. */
export interface Session {
  /** Sends a report in the running session. @throws UNAVAILABLE when there is none */
  send(report: Report): Promise<void>;
  /** Says that everything up to and with the message of that number is true here. @throws UNAVAILABLE when there is no session */
  acknowledge(sequence: number): Promise<void>;
  /** Makes the next heartbeat at once: there is something to say with it. */
  hurry(): void;
  /** Says that nothing will be heard of this node for now; that nobody hears it is no failure. */
  goodbye(): Promise<void>;
  /** Runs until `signal` aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** Makes the session; nothing is sent before `run`. */
export function createSession(options: SessionOptions): Session {
  const { dispatcher, nodeId, clock, random, logger } = options;
  let current: string | undefined;
  let heardAt = 0;
  const ear: Ear = {
    heardAt: () => heardAt,
    hear: () => void (heardAt = clock.monotonic()),
  };
  const pause = new Pause(clock);
  return {
    hurry: () => pause.end(),
    async send(report) {
      if (current === undefined) return Promise.reject(new Error('no session with a manager'));
      await dispatcher.updateTaskStatus({ sessionId: current, nodeId, ...report });
      ear.hear();
    },
    async acknowledge(sequence) {
      if (current === undefined) return Promise.reject(new Error('no session with a manager'));
      await dispatcher.acknowledge({ sessionId: current, nodeId, sequence });
      ear.hear();
    },
    async goodbye() {
      if (current === undefined) return;
      const sessionId = current;
      const enough = new AbortController();
      const late = sleep(clock, GOODBYE_MS, enough.signal).catch(() => undefined);
      const say = async (): Promise<void> => {
        try {
          await dispatcher.heartbeat({ sessionId, nodeId, ...claimOf(options.lease), goodbye: true }, enough.signal);
        } catch (error) {
          logger.debug('no goodbye', { reason: messageOf(error) });
        }
      };
      await Promise.race([say(), late]);
      enough.abort(new Error('enough'));
    },
    async run(signal) {
      for (let failures = 0; !signal.aborted; failures++) {
        try {
          await once(options, ear, pause, signal, (id) => {
            current = id;
            failures = 0;
          });
        } catch (error) {
          if (signal.aborted) return;
          logger.warn('session with the manager lost', { reason: messageOf(error) });
        }
        current = undefined;
        const delay = jitter(random, backoffMs(failures, FIRST_RETRY_MS, LONGEST_RETRY_MS), 0.2);
        await sleep(clock, delay, signal).catch(() => undefined);
      }
    },
  };
}

/** What is waited between heartbeats. */
class Pause {
  readonly #clock: Clock;
  #isOver = false;
  #over = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends the present one, or the next. */
  end(): void {
    this.#isOver = true;
    this.#over.abort(new Error('there is something to say'));
  }

  /** @throws the signal's reason */
  async pass(ms: number, signal: AbortSignal): Promise<void> {
    this.#over = new AbortController();
    if (!this.#isOver)
      await sleep(this.#clock, ms, AbortSignal.any([signal, this.#over.signal])).catch(() => undefined);
    signal.throwIfAborted();
    this.#isOver = false;
  }
}

/** When the managers were heard last, on the monotonic clock, ms. */
interface Ear {
  heardAt(): number;
  hear(): void;
}

/** One session, from its first message to its end; heartbeat and assignments live and die with it. */
async function once(
  options: SessionOptions,
  ear: Ear,
  pause: Pause,
  outer: AbortSignal,
  opened: (id: string) => void,
): Promise<void> {
  const { dispatcher, nodeId, describe, logger, lease } = options;
  const sentAt = lease.now();
  const said = options.images();
  const paths = options.bindSources?.known();
  const description = describe();
  const scope = new AbortController();
  const signal = AbortSignal.any([outer, scope.signal]);
  const stream = dispatcher
    .session(
      {
        nodeId,
        description,
        acknowledges: true,
        images: { keys: said },
        ...(paths === undefined ? {} : { bindSources: paths }),
        ...claimOf(lease),
      },
      signal,
    )
    [Symbol.asyncIterator]();
  try {
    const first = await stream.next();
    if (first.done === true) throw new Error('the manager ended the session at once');
    const { sessionId, heartbeatMs: everyMs, leaseMs } = first.value;
    lease.renew(sentAt, leaseMs);
    opened(sessionId);
    options.onSession();
    logger.info('session with the manager', { sessionId });
    options.bindSources?.want(first.value.bindSources ?? []);
    const ended = (async () => {
      for (let next = await stream.next(); next.done !== true; next = await stream.next())
        options.bindSources?.want(next.value.bindSources ?? []);
      throw new Error('the manager ended the session');
    })();
    await Promise.race([
      ended,
      receive(options, ear, sessionId, signal),
      beat(options, ear, pause, sessionId, { everyMs, leaseMs, said, saidKeys: keysOf(description.overlay) }, signal),
    ]);
  } finally {
    scope.abort(new Error('session over'));
  }
}

async function receive(options: SessionOptions, ear: Ear, sessionId: string, signal: AbortSignal): Promise<void> {
  let expected: number | undefined;
  for await (const change of options.dispatcher.assignments({ sessionId, nodeId: options.nodeId }, signal)) {
    ear.hear();
    if (expected !== undefined && change.sequence !== expected) throw new Error('an assignment message was lost');
    expected = change.sequence + 1;
    options.onChange(change);
  }
  throw new Error('the manager ended the assignments');
}

async function beat(
  options: SessionOptions,
  ear: Ear,
  pause: Pause,
  sessionId: string,
  first: {
    readonly everyMs: number;
    readonly leaseMs: number | undefined;
    readonly said: readonly string[];
    readonly saidKeys: string;
  },
  signal: AbortSignal,
) {
  const { dispatcher, nodeId, lease, clock } = options;
  let { everyMs, leaseMs, said, saidKeys } = first;
  let saidPaths = '';
  for (;;) {
    await pause.pass(jitter(options.random, everyMs, 0.1), signal);
    options.bindSources?.look();
    const sentAt = lease.now();
    const answered = new AbortController();
    const limitMs = everyMs + ANSWER_MS;
    const late = silence(clock, ear, limitMs, leaseMs ?? limitMs, AbortSignal.any([signal, answered.signal]));
    late.catch(() => undefined);
    const keys = options.images();
    const images = keys.join() === said.join() ? {} : { images: { keys } };
    const paths = options.bindSources?.known();
    const newPaths = JSON.stringify([options.bindSources?.asked(), paths]);
    const bindSources = paths === undefined || newPaths === saidPaths ? {} : { bindSources: paths };
    const { overlay } = options.describe();
    const isRekeyed = overlay !== undefined && keysOf(overlay) !== saidKeys;
    try {
      const beating = dispatcher.heartbeat(
        { sessionId, nodeId, ...claimOf(lease), ...images, ...bindSources, ...(isRekeyed ? { overlay } : {}) },
        signal,
      );
      const answer = await Promise.race([beating, late]);
      said = keys;
      saidPaths = newPaths;
      if (isRekeyed) saidKeys = keysOf(overlay);
      ({ heartbeatMs: everyMs, leaseMs } = answer);
      lease.renew(sentAt, leaseMs);
      if (options.isOutdated()) throw new Error('the lease had run out: the managers are asked for everything again');
    } finally {
      answered.abort(new Error('answered'));
    }
  }
}

/**
 * Fails when a heartbeat was not answered within `limitMs`: a machine that is switched off does not say so, and another manager may still
 * be told in time. Managers that have much to do answer late, and would have more to do if everybody began anew: who hears something else
 * of them waits longer, up to twice as long, if the lease allows. Time in which this process had no processor does not count.
 * @param leaseMs of which the heartbeat would have renewed; 0: it has no end
 */
async function silence(clock: Clock, ear: Ear, limitMs: number, leaseMs: number, signal: AbortSignal): Promise<never> {
  const mostMs = leaseMs === 0 ? 2 * limitMs : Math.min(2 * limitMs, Math.max(limitMs, leaseMs - ANOTHER_MS));
  // What has passed, and had when something was heard.
  let [passed, heard] = [0, 0];
  for (let heardAt = ear.heardAt(); passed < Math.min(heard + limitMs, mostMs);) {
    passed += await passAwake(clock, limitMs, signal);
    if (ear.heardAt() > heardAt) [heardAt, heard] = [ear.heardAt(), passed];
  }
  throw new Error(`a heartbeat was not answered within ${Math.round(passed)} ms`);
}

const keysOf = (overlay: NodeOverlay | undefined): string =>
  JSON.stringify([overlay?.publicKey, overlay?.alternateKey]);

/** What this node says of its lease. */
function claimOf(lease: Pick<LeaseKeeper, 'claim'>): { readonly leaseMs?: number } {
  const leaseMs = lease.claim();
  return leaseMs === undefined ? {} : { leaseMs };
}

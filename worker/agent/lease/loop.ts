import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { NodeLease } from '../../../node-engine/types.ts';

/** Fenced containers are asked to end so long before the lease does, and killed when it does. The managers reckon with it too. */
const END_MS = 1_000;
/** What a node that has no lease of this boot lets its fenced containers run on for; nothing is started. */
const PROVISIONAL_MS = 5_500;
/** Supervisors look at a lease without end once a second: until they have seen that it has one, the node does not say so. */
const SEEN_AFTER_MS = 2_000;

/** `ending`: fenced containers are asked to end; `over`: none runs any more. */
export type LeaseStage = 'held' | 'ending' | 'over';

/** The lease of this node as its agent keeps it. */
export interface LeaseKeeper {
  /** The time to count a lease in, ms: read BEFORE a manager is asked for it. */
  now(): number;
  /** What this node is under, for the managers to know: ms, 0 without end; undefined: nothing. */
  claim(): number | undefined;
  /** A manager has answered. @param sentAt when it was asked @param lengthMs 0 or undefined: without end */
  renew(sentAt: number, lengthMs: number | undefined): void;
  stage(): LeaseStage;
  /** Whether fenced containers may be started: a lease is held, and a manager gave it. */
  mayStart(): boolean;
  /** Until its end, ms; at least 0. */
  leftMs(): number;
  close(): void;
}

export interface LeaseKeeperOptions {
  /** Absent: the lease is kept here only, and ends with the agent. */
  readonly lease: NodeLease | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The stage may be another one now. */
  readonly onChange: () => void;
}

/** Takes up the lease that the agent before it had. */
export function keepLease({ lease, clock, logger, onChange }: LeaseKeeperOptions): LeaseKeeper {
  const now = (): number => lease?.now() ?? clock.monotonic();
  const kept = lease?.read();
  let isGiven = kept !== undefined;
  let end = kept ?? now() + PROVISIONAL_MS;
  /** Its length as it was given; before that, what is left of it. */
  let length = end === Infinity ? Infinity : Math.max(0, end - now());
  /** Since when the lease has an end; before, it had none. */
  let boundedAt = -Infinity;
  let timer: Timer | undefined;

  const stage = (): LeaseStage => (now() >= end ? 'over' : now() >= end - END_MS ? 'ending' : 'held');
  const watch = (): void => {
    timer?.cancel();
    timer = undefined;
    if (end === Infinity) return;
    const next = [end - END_MS, end].find((time) => time > now());
    if (next === undefined) return;
    timer = clock.startTimer(Math.max(1, next - now()), () => {
      logger.warn('no manager is heard of', { lease: stage() });
      onChange();
      watch();
    });
  };
  const set = (next: number): void => {
    lease?.set(next);
    end = next;
  };
  watch();

  return {
    now,
    claim() {
      if (end === Infinity || now() < boundedAt + SEEN_AFTER_MS) return 0;
      return stage() === 'over' ? undefined : Math.ceil(length);
    },
    renew(sentAt, lengthMs = 0) {
      const before = stage();
      const wasEndless = end === Infinity;
      const mayStart = isGiven && before === 'held';
      // It has run out, perhaps while this process was stopped: that must not be overlooked.
      if (before === 'over') onChange();
      try {
        set(lengthMs === 0 ? Infinity : sentAt + lengthMs);
      } catch (error) {
        // Supervisors go by the file: what they do not know is not so.
        logger.error('lease not renewed', { reason: messageOf(error) });
        return;
      }
      length = lengthMs === 0 ? Infinity : lengthMs;
      if (wasEndless && end !== Infinity) boundedAt = now();
      if (end === Infinity) boundedAt = -Infinity;
      isGiven = true;
      watch();
      if (!mayStart || before !== stage()) onChange();
    },
    stage,
    mayStart: () => isGiven && stage() === 'held',
    leftMs: () => Math.max(0, end - now()),
    close() {
      timer?.cancel();
    },
  };
}

import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import type { HardState, LogBatch, LogStore } from './log/types.ts';
import { startRaft } from './loop.ts';
import type { RaftOptions } from './loop.ts';
import type { SnapshotStore } from './snapshot/disk.ts';
import type { Entry, Raft, RaftMessage, RaftObservation, Server } from './types.ts';

/** A disk in memory whose writes wait while it is held, and fail when it is broken. */
class Disk implements LogStore {
  hardState: HardState = { term: 0, votedFor: '' };
  entries: Entry[] = [];
  writes = 0;
  broken = false;
  #held: (() => void)[] | undefined;

  get firstIndex(): number {
    return 1;
  }
  get lastIndex(): number {
    return this.entries.length;
  }
  hold(): void {
    this.#held = [];
  }
  release(): void {
    const waiting = this.#held ?? [];
    this.#held = undefined;
    for (const go of waiting) go();
  }
  async write({ hardState, truncateFrom, entries }: LogBatch): Promise<void> {
    this.writes++;
    if (this.#held !== undefined) await new Promise<void>((resolve) => this.#held?.push(resolve));
    if (this.broken) throw new Error('EIO: i/o error, fsync');
    if (hardState !== undefined) this.hardState = hardState;
    if (truncateFrom !== undefined) this.entries.length = truncateFrom - 1;
    this.entries.push(...entries);
  }
  read(from: number, to: number): Entry[] {
    return this.entries.slice(from - 1, to);
  }
  truncatePrefix(): Promise<void> {
    return Promise.resolve();
  }
  reset(): Promise<void> {
    return Promise.resolve();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const NO_SNAPSHOTS: SnapshotStore = {
  latest: () => undefined,
  load: () => Promise.resolve(undefined),
  save: () => Promise.resolve(),
};

/** A process that gets no processor time for a while: what was due comes when it goes on, timers before messages. */
class Process {
  readonly clock: Clock;
  #held: { timers: (() => void)[]; messages: (() => void)[] } | undefined;

  constructor(clock: VirtualClock) {
    this.clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      startTimer: (delayMs, fire) => clock.startTimer(delayMs, () => void (this.#held?.timers.push(fire) ?? fire())),
    };
  }
  hear(message: () => void): void {
    if (this.#held === undefined) message();
    else this.#held.messages.push(message);
  }
  hold(): void {
    this.#held = { timers: [], messages: [] };
  }
  goOn(): void {
    const { timers, messages } = this.#held ?? { timers: [], messages: [] };
    this.#held = undefined;
    for (const due of [...timers, ...messages]) due();
  }
}

interface Running {
  readonly process: Process;
  readonly disk: Disk;
  readonly raft: Raft;
  readonly seen: RaftObservation[];
  readonly fatal: Error[];
  readonly sent: RaftMessage[];
  readonly applied: Entry[];
}

/** Three servers, of which a leads; everything is delivered at once. */
async function group(): Promise<{ a: Running; b: Running; c: Running; clock: VirtualClock }> {
  const clock = new VirtualClock();
  const listeners = new Map<string, (messages: readonly RaftMessage[]) => void>();
  const servers: Server[] = ['a', 'b', 'c'].map((id) => ({ id, address: `${id}:1`, voter: true }));
  const start = async ({ id, address }: Server, patience: number): Promise<Running> => {
    const process = new Process(clock);
    const lists = { seen: [], fatal: [], sent: [], applied: [] };
    const running = { disk: new Disk(), process, ...lists } as unknown as Running;
    const options: RaftOptions = {
      id,
      address,
      log: running.disk,
      snapshots: NO_SNAPSHOTS,
      machine: { apply: (entry) => void running.applied.push(entry), snapshot: () => [], restore: () => undefined },
      clock: process.clock,
      // Who waits longest for an election is drawn once and for all.
      random: { next: () => patience, bytes: (length) => new Uint8Array(length) },
      logger: silentLogger,
      transport: {
        send: (to, messages) => {
          running.sent.push(...messages);
          clock.startTimer(1, () => listeners.get(to.address)?.(messages));
        },
        onMessages: (listener) => void listeners.set(address, (messages) => process.hear(() => listener(messages))),
        close: () => Promise.resolve(),
      },
      bootstrap: { servers },
      snapshotEvery: 1000,
      trailing: 0,
      onFatal: (error) => running.fatal.push(error),
    };
    const raft = await startRaft(options);
    raft.observe((event) => running.seen.push(event));
    return Object.assign(running, { raft });
  };
  const [a, b, c] = await Promise.all([start(servers[0]!, 0), start(servers[1]!, 0.5), start(servers[2]!, 0.99)]);
  await clock.advance(500);
  assert.ok(a.raft.status().ready);
  for (const { sent, seen } of [a, b, c]) sent.length = seen.length = 0;
  return { a, b, c, clock };
}

const proposed = (running: Running) => running.raft.propose(Buffer.from('x'));
/** It says what to do, too. */
const unknown = (error: unknown): boolean => isTsswarmError(error, 'OUTCOME_UNKNOWN') && error.hint !== undefined;

describe('a Raft server and its disk', () => {
  it('that fails: a leader stops to lead, says so, and promises nothing any more', async () => {
    const { a, b, clock } = await group();
    a.disk.broken = true;
    const lost = proposed(a);
    lost.catch(() => undefined);
    await clock.advance(20);
    // The others have it on their disks, so it is committed and acknowledged; the own disk fails all the same.
    assert.equal(a.fatal.length, 1);
    assert.match(a.fatal[0]?.message ?? '', /EIO/);
    assert.equal(a.raft.status().role, 'follower');
    assert.ok(a.seen.some((event) => event.kind === 'role' && event.role === 'follower'));
    await assert.rejects(proposed(a), (error) => isTsswarmError(error, 'UNAVAILABLE'));
    await assert.rejects(a.raft.readIndex(), (error) => isTsswarmError(error, 'UNAVAILABLE'));
    a.sent.length = 0;
    await clock.advance(3000);
    assert.deepEqual(a.sent, [], 'it says nothing any more');
    assert.ok(b.raft.status().ready, 'another one leads');
  });

  it('that fails: what was under way has an unknown outcome', async () => {
    const { a, b, c, clock } = await group();
    for (const { disk } of [b, c]) disk.hold();
    a.disk.broken = true;
    const lost = assert.rejects(proposed(a), unknown);
    await clock.advance(20);
    await lost;
  });

  it('that fails is not tried again: the kernel may have dropped what was not written', async () => {
    const { b, a, clock } = await group();
    b.disk.broken = true;
    void proposed(a).catch(() => undefined);
    await clock.advance(100);
    const { writes } = b.disk;
    b.disk.broken = false;
    void proposed(a).catch(() => undefined);
    await clock.advance(1000);
    assert.equal(b.disk.writes, writes);
    assert.equal(b.fatal.length, 1);
  });

  it('that fails: a follower acknowledges nothing that it has not got', async () => {
    const { a, b, clock } = await group();
    b.disk.broken = true;
    b.sent.length = 0;
    void proposed(a).catch(() => undefined);
    await clock.advance(100);
    assert.deepEqual(
      b.sent.filter((message) => message.kind === 'append-answer' && message.accepted),
      [],
    );
  });

  it('that is slow: a leader sends meanwhile, and does not count itself', async () => {
    const { a, b, c, clock } = await group();
    a.disk.hold();
    c.disk.hold();
    let done = false;
    const writing = proposed(a).then(() => (done = true));
    await clock.advance(100);
    assert.ok(a.sent.some((message) => message.kind === 'append' && message.entries.length > 0));
    assert.equal(b.disk.lastIndex, b.raft.status().lastIndex, 'one of three disks has it');
    assert.equal(done, false);
    c.disk.release();
    await clock.advance(100);
    await writing;
    assert.equal(a.disk.lastIndex, a.raft.status().lastIndex - 1, 'committed by the two others, without the own disk');
    a.disk.release();
  });

  it('that is slow: what piles up goes to it in one write', async () => {
    const { a, clock } = await group();
    a.disk.hold();
    const { writes } = a.disk;
    for (let i = 0; i < 50; i++) void proposed(a).catch(() => undefined);
    await clock.advance(10);
    a.disk.release();
    await clock.advance(10);
    assert.ok(a.disk.writes - writes <= 3, `${a.disk.writes - writes} writes for 50 proposals`);
  });

  it('that is slow: heartbeats are answered, and nobody is deposed for it', async () => {
    const { a, b, c, clock } = await group();
    for (const { disk } of [a, b, c]) disk.hold();
    void proposed(a).catch(() => undefined);
    await clock.advance(3000);
    assert.equal(a.raft.status().role, 'leader');
    assert.ok(a.raft.status().servers.every(({ reachable }) => reachable));
    for (const { disk } of [a, b, c]) disk.release();
  });

  it('that is slow: nobody is asked for a vote, and none is given, before it is on it', async () => {
    const { a, b, c, clock } = await group();
    const { term } = a.raft.status();
    for (const { disk } of [b, c]) disk.hold();
    void a.raft.transferLeadership('b').catch(() => undefined);
    await clock.advance(50);
    assert.equal(b.raft.status().term, term + 1, 'it is to take over, and has opened its term');
    assert.ok(!b.sent.some(({ kind }) => kind === 'vote'));
    b.disk.release();
    await clock.advance(50);
    assert.equal(b.disk.hardState.term, term + 1);
    assert.ok(b.sent.some(({ kind }) => kind === 'vote'));
    assert.ok(!c.sent.some((message) => message.kind === 'vote-answer' && message.granted));
    c.disk.release();
    await clock.advance(50);
    assert.equal(c.disk.hardState.votedFor, 'b');
    assert.equal(b.raft.status().role, 'leader');
  });
});

describe('a Raft server without processor time', () => {
  it('reads what the leader said meanwhile before it calls an election', async () => {
    const { b, clock } = await group();
    for (let round = 0; round < 5; round++) {
      b.process.hold();
      await clock.advance(2_000);
      b.process.goOn();
      await clock.advance(500);
    }
    assert.deepEqual(
      b.sent.filter(({ kind }) => kind === 'pre-vote' || kind === 'vote'),
      [],
    );
  });

  it('calls one when the leader has said nothing since', async () => {
    const { a, b, clock } = await group();
    a.process.hold();
    b.process.hold();
    await clock.advance(2_000);
    b.process.goOn();
    await clock.advance(1_000);
    assert.ok(b.sent.some(({ kind }) => kind === 'pre-vote' || kind === 'pre-vote-answer'));
    assert.notEqual(b.raft.status().leaderId, 'a');
  });
});

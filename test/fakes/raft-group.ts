import { createCore, flush, step } from '../../manager/raft/core/core.ts';
import type { Core, CoreConfig, RaftEffect, RaftInput } from '../../manager/raft/core/state.ts';
import { CORE_DEFAULTS } from '../../manager/raft/core/state.ts';
import { RaftLog } from '../../manager/raft/core/log.ts';
import { encodeConfiguration } from '../../manager/raft/core/configuration.ts';
import type { Configuration, Entry, RaftMessage, Server, ServerId, SnapshotMeta } from '../../manager/raft/types.ts';

/** How one server of a group begins. */
export interface Start {
  /** Terms of its log's entries, from index 1 on; as in the figures of the Raft paper. */
  readonly terms?: readonly number[];
  readonly term?: number;
  readonly votedFor?: ServerId;
}

interface Disk {
  term: number;
  votedFor: ServerId;
  entries: Entry[];
}

const address = (id: ServerId): string => `${id}:7946`;
export const member = (id: ServerId, voter = true): Server => ({ id, address: address(id), voter });

/**
 * Cores whose messages and disks a test moves by hand: nothing is delivered and no time passes unless it says so. Disks are
 * instantaneous unless held.
 */
export class RaftGroup {
  readonly cores = new Map<ServerId, Core>();
  /** Messages under way, oldest first. */
  wire: RaftMessage[] = [];
  /** Every effect of each server, in order. */
  readonly effects = new Map<ServerId, RaftEffect[]>();
  readonly disks = new Map<ServerId, Disk>();
  now = 1000;
  readonly #held = new Set<ServerId>();
  readonly #queues = new Map<ServerId, RaftEffect[]>();
  readonly #config: Partial<CoreConfig>;

  constructor(
    starts: Readonly<Record<ServerId, Start>>,
    config: Partial<CoreConfig> = {},
    servers: readonly Server[] = Object.keys(starts).map((id) => member(id)),
  ) {
    this.#config = config;
    for (const [id, { terms = [], term = terms.at(-1) ?? 0, votedFor = '' }] of Object.entries(starts)) {
      const entries = terms.map((entryTerm, i) => ({
        index: i + 1,
        term: entryTerm,
        kind: 'command' as const,
        payload: new Uint8Array([i]),
      }));
      this.disks.set(id, { term, votedFor, entries });
      this.start(id, [{ index: 0, servers }]);
      this.core(id).startedMs = -Infinity;
    }
  }

  /** (Re)starts a server from its disk, now; those that a group begins with have been up for long. */
  start(id: ServerId, configurations: readonly Configuration[]): void {
    const { term, votedFor, entries } = this.disk(id);
    const log = new RaftLog({ index: 0, term: 0 }, [], 0, { read: () => [] }, 1e6);
    log.append(entries);
    const config = { ...CORE_DEFAULTS, ...this.#config, id, address: address(id) };
    const restored = { term, votedFor, log, snapshot: undefined, configurations };
    this.cores.set(id, createCore(config, { next: () => 0.5, bytes: () => new Uint8Array() }, restored, this.now));
    this.effects.set(id, []);
    this.#queues.set(id, []);
  }

  core(id: ServerId): Core {
    const core = this.cores.get(id);
    if (core === undefined) throw new Error(`no server ${id}`);
    return core;
  }

  disk(id: ServerId): Disk {
    const disk = this.disks.get(id);
    if (disk === undefined) throw new Error(`no server ${id}`);
    return disk;
  }

  /** Gives a server an event and flushes it; the effects of both. */
  step(id: ServerId, input: RaftInput): readonly RaftEffect[] {
    const core = this.core(id);
    const effects = [...step(core, input, this.now), ...flush(core, this.now)];
    this.#take(id, effects);
    return effects;
  }

  tick(id: ServerId): readonly RaftEffect[] {
    return this.step(id, { kind: 'tick' });
  }

  propose(id: ServerId, byte = 0): readonly RaftEffect[] {
    return this.step(id, { kind: 'propose', payload: new Uint8Array([byte]) });
  }

  receive(message: RaftMessage): readonly RaftEffect[] {
    return this.step(message.to, { kind: 'message', message });
  }

  /** Delivers until nothing is under way; what `drop` takes is lost. */
  deliver(drop: (message: RaftMessage) => boolean = () => false): void {
    for (let left = 10_000; this.wire.length > 0; left--) {
      if (left === 0) throw new Error('the messages have no end');
      const message = this.wire.shift();
      if (message !== undefined && !drop(message) && this.cores.has(message.to)) this.receive(message);
    }
  }

  /** Only between these servers messages arrive. */
  among(...ids: ServerId[]): (message: RaftMessage) => boolean {
    return ({ from, to }) => !ids.includes(from) || !ids.includes(to);
  }

  /** Lets an election timeout pass at one server, and its messages arrive. */
  elect(id: ServerId, drop?: (message: RaftMessage) => boolean): void {
    this.now += 2 * this.core(id).config.electionTimeoutMs + 1;
    this.tick(id);
    this.deliver(drop);
  }

  /** Lets `ms` pass with ticks of the server. */
  pass(ms: number, id: ServerId, drop?: (message: RaftMessage) => boolean): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 10;
      this.tick(id);
      this.deliver(drop);
    }
  }

  hold(id: ServerId): void {
    this.#held.add(id);
  }

  /** The held disk does everything that waits. */
  sync(id: ServerId): void {
    this.#held.delete(id);
    this.#drain(id);
  }

  terms(id: ServerId): readonly number[] {
    const { log } = this.core(id);
    return Array.from({ length: log.lastIndex - log.firstIndex + 1 }, (_, i) => log.termAt(log.firstIndex + i) ?? -1);
  }

  of<K extends RaftEffect['kind']>(id: ServerId, kind: K): readonly Extract<RaftEffect, { kind: K }>[] {
    return (this.effects.get(id) ?? []).filter((effect) => effect.kind === kind) as never;
  }

  #take(id: ServerId, effects: readonly RaftEffect[]): void {
    this.effects.get(id)?.push(...effects);
    const queue = this.#queues.get(id) ?? [];
    for (const effect of effects) {
      if (effect.kind === 'send' && !effect.durable) this.wire.push(effect.message);
      else if (['send', 'save-hard-state', 'append', 'truncate'].includes(effect.kind)) queue.push(effect);
    }
    if (!this.#held.has(id)) this.#drain(id);
  }

  #drain(id: ServerId): void {
    const queue = this.#queues.get(id) ?? [];
    const disk = this.disk(id);
    for (let effect = queue.shift(); effect !== undefined; effect = queue.shift()) {
      if (effect.kind === 'send') this.wire.push(effect.message);
      else if (effect.kind === 'save-hard-state') {
        Object.assign(disk, { term: effect.term, votedFor: effect.votedFor });
        this.step(id, { kind: 'hard-state-persisted', term: effect.term });
      } else if (effect.kind === 'append') {
        disk.entries.push(...effect.entries);
        this.step(id, { kind: 'persisted', sequence: effect.sequence });
      } else if (effect.kind === 'truncate') {
        const { from } = effect;
        disk.entries = disk.entries.filter(({ index }) => index < from);
        this.step(id, { kind: 'persisted', sequence: effect.sequence });
      }
    }
  }
}

export const snapshotMeta = (index: number, term: number, servers: readonly Server[]): SnapshotMeta => ({
  index,
  term,
  configuration: { index: 0, servers },
});

export const configurationEntry = (index: number, term: number, servers: readonly Server[]): Entry => ({
  index,
  term,
  kind: 'configuration',
  payload: encodeConfiguration(servers),
});

/** A message to "b" from "a" with what a test does not care about filled in. */
export function message<K extends RaftMessage['kind']>(
  kind: K,
  change: Partial<Extract<RaftMessage, { kind: K }>>,
): Extract<RaftMessage, { kind: K }> {
  const from = change.from ?? 'a';
  const base = {
    kind,
    term: 1,
    from,
    fromAddress: address(from),
    to: 'b',
    lastIndex: 0,
    lastTerm: 0,
    granted: true,
    transfer: false,
    prevIndex: 0,
    prevTerm: 0,
    entries: [],
    commitIndex: 0,
    accepted: true,
    index: 0,
    hintIndex: 0,
    hintTerm: 0,
    round: 0,
  };
  return { ...base, ...change } as never;
}

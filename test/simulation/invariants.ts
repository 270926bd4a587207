import type { LogBatch } from '../../manager/raft/log/types.ts';
import type { Entry, RaftMessage } from '../../manager/raft/types.ts';
import type { Platter } from './disk.ts';
import { lastOf, termOnDisk } from './disk.ts';
import type { World } from './world.ts';

/** What the checks look at of a server. */
export interface Observed {
  readonly id: string;
  readonly platter: Platter;
  /** Whether it says that nobody can have been elected after it. */
  holdsLease(): boolean;
  /** Its term (Infinity while it starts), and the voters that it knows if it leads. */
  leadership(): { readonly term: number; readonly voters: readonly string[] | undefined };
}

/** Rules that hold at every moment, whatever fails (Raft paper, figure 3). Each is looked at where it could break. */
export class Invariants {
  readonly #world: World;
  readonly #servers: () => readonly Observed[];
  readonly #leaders = new Map<number, string>();
  /** By index and term: the entry, and the term of the one before it. */
  readonly #entries = new Map<string, { readonly entry: Entry; readonly previousTerm: number }>();
  /** By index: what was applied first. */
  readonly applied: (Entry | undefined)[] = [];
  /** By index: the term in which it was committed, at the latest. */
  readonly #committedIn: number[] = [];
  readonly #promised = new Map<string, { term: number; votedFor: string }>();

  constructor(world: World, servers: () => readonly Observed[]) {
    this.#world = world;
    this.#servers = servers;
  }

  /** Election safety: at most one leader a term. */
  leads(id: string, term: number): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== id)
      this.#world.fail(`election safety: ${other} and ${id} lead in term ${term}`);
    this.#leaders.set(term, id);
  }

  /**
   * A lease is over before anybody leads a later term. One may still be told of the votes that it won in an earlier term: nobody
   * follows it, so it commits nothing and gets no lease, which {@link sole} looks at.
   */
  alone(id: string, term: number): void {
    const other = this.#servers().find(
      (server) => server.id !== id && server.holdsLease() && server.leadership().term < term,
    );
    if (other !== undefined) this.#world.fail(`lease: ${id} leads term ${term} while ${other.id} holds its lease`);
  }

  /** No two hold a lease at the same moment. */
  sole(): void {
    const holders = this.#servers().filter((server) => server.holdsLease());
    if (holders.length > 1) this.#world.fail(`lease: ${holders.map(({ id }) => id).join(' and ')} hold one each`);
  }

  /** Log matching, and terms and votes that never go back, for what has just become durable. */
  written({ id, platter }: Observed, batch: LogBatch): void {
    const before = this.#promised.get(id);
    const { term, votedFor } = platter.hardState;
    if (before !== undefined) {
      const back = term < before.term;
      const changed = term === before.term && before.votedFor !== '' && votedFor !== before.votedFor;
      if (back || changed)
        this.#world.fail(
          `hard state: ${id} had ${before.term}/"${before.votedFor}" and now ${term}/"${votedFor}" on disk`,
        );
    }
    this.#promised.set(id, { term, votedFor });
    for (const entry of batch.entries) {
      const previousTerm = entry.index - 1 > platter.base ? termOnDisk(platter, entry.index - 1) : undefined;
      const key = `${entry.index}/${entry.term}`;
      const known = this.#entries.get(key);
      if (known === undefined) {
        if (previousTerm !== undefined) this.#entries.set(key, { entry, previousTerm });
      } else if (
        !sameEntry(known.entry, entry) ||
        (previousTerm !== undefined && known.previousTerm !== previousTerm)
      ) {
        this.#world.fail(`log matching: two logs differ at or before entry ${key}`);
      }
      // Leader completeness: a leader opens its term on top of everything that is committed.
      if (entry.kind === 'noop') this.#complete(id, platter, entry.index);
    }
  }

  #complete(id: string, platter: Platter, noop: number): void {
    const term = termOnDisk(platter, noop);
    for (let index = Math.max(1, platter.base + 1); index < this.applied.length; index++) {
      const committed = this.applied[index];
      if (committed === undefined || (this.#committedIn[index] ?? Infinity) >= term) continue;
      if (termOnDisk(platter, index) !== committed.term)
        return this.#world.fail(`leader completeness: ${id} has not the committed entry ${index} in term ${term}`);
    }
  }

  /** State machine safety: nobody applies something else at an index; and nothing is applied that a majority has not got. */
  applies(server: Observed, entry: Entry): void {
    const first = this.applied[entry.index];
    if (first !== undefined) {
      if (!sameEntry(first, entry))
        this.#world.fail(`state machine safety: ${server.id} applies another ${entry.index}`);
      return;
    }
    this.applied[entry.index] = entry;
    const { term, voters } = server.leadership();
    this.#committedIn[entry.index] = term;
    if (voters === undefined) return;
    const holders = this.#servers().filter(
      ({ id, platter }) => voters.includes(id) && has(platter, entry.index, entry.term),
    );
    if (holders.length * 2 <= voters.length)
      this.#world.fail(
        `durability: ${server.id} committed ${entry.index}, on disk at ${holders.length} of ${voters.length} voters`,
      );
  }

  /** Nobody promises what its disk has not got. */
  sent(message: RaftMessage): void {
    const platter = this.#servers().find(({ id }) => id === message.from)?.platter;
    if (platter === undefined) return;
    const { term, votedFor } = platter.hardState;
    if (message.kind === 'append-answer' && message.accepted && lastOf(platter) < message.index)
      this.#world.fail(`durability: ${message.from} acknowledged ${message.index} and has ${lastOf(platter)} on disk`);
    if (message.kind === 'vote-answer' && message.granted) {
      const kept = term > message.term || (term === message.term && votedFor === message.to);
      if (!kept)
        this.#world.fail(`durability: ${message.from} gave a vote in term ${message.term} that is not on disk`);
    }
    if (message.kind === 'vote' && (term < message.term || (term === message.term && votedFor !== message.from)))
      this.#world.fail(`durability: ${message.from} campaigns in term ${message.term} that is not on its disk`);
  }
}

function has(platter: Platter, index: number, term: number): boolean {
  return index <= platter.base || termOnDisk(platter, index) === term;
}

function sameEntry(a: Entry, b: Entry): boolean {
  if (a === b) return true;
  return a.term === b.term && a.kind === b.kind && Buffer.compare(a.payload, b.payload) === 0;
}

import { isTsswarmError } from '../../base/errors.ts';
import type { ResumableStore, StoreCommit, StoreWatch } from '../../manager/store/types.ts';
import type { Cluster, Member } from './cluster.ts';
import { advance, objectsOf, textOf } from './reference.ts';
import { Stored } from './stored.ts';
import type { World, Life } from './world.ts';

/** Full comparisons of what a watcher pieced together with what is there: one of so many commits. */
const COMPARE_EVERY = 16;

/**
 * Watches the store at one member, and goes on at another (or the same) by version when that one is gone. Every commit must
 * come exactly once and in order, and must say what changed.
 */
export class Watcher {
  version = -1;
  #objects = new Map<string, string>();
  #watch: StoreWatch | undefined;
  #member: Member | undefined;
  #life: Life | undefined;
  readonly #world: World;
  readonly #cluster: Cluster;

  constructor(world: World, cluster: Cluster) {
    this.#world = world;
    this.#cluster = cluster;
  }

  async run(): Promise<void> {
    const world = this.#world;
    while (world.violation === undefined) {
      await world.sleep(world.between(5, 150));
      // One that was removed stays behind and does not know: who watches there is sent away by the cluster.
      const leader = this.#cluster.leader()?.raft?.status();
      const belongs = ({ id }: Member): boolean => leader?.servers.some((server) => server.id === id) !== false;
      const member = this.#member;
      const ended = this.#watch === undefined || member?.life !== this.#life || this.#life?.alive !== true;
      const lost = ended || (member !== undefined && !belongs(member));
      if (!lost && !world.chance(0.03)) continue;
      // Often the same one again: it was restarted, or its watch ended.
      const members = this.#cluster.running().filter(belongs);
      const next =
        this.#member?.raft !== undefined && world.chance(0.5)
          ? this.#member
          : members.at(world.integer(0, 8) % members.length);
      if (next?.contents instanceof Stored && next.contents.store !== undefined)
        this.#attach(next, next.contents.store);
    }
  }

  #attach(member: Member, store: ResumableStore): void {
    this.#watch?.close();
    this.#watch = undefined;
    const watch = this.#resume(store) ?? (this.version < 0 || this.#world.chance(0.5) ? this.#list(store) : undefined);
    if (watch === undefined) return;
    this.#watch = watch;
    this.#member = member;
    this.#life = member.life;
    void this.#consume(watch, store);
  }

  #resume(store: ResumableStore): StoreWatch | undefined {
    if (this.version < 0) return undefined;
    try {
      const watch = store.watchFrom(this.version);
      this.#cluster.coverage.resumes++;
      return watch;
    } catch (error) {
      if (!isTsswarmError(error, 'UNAVAILABLE')) throw error;
      return undefined;
    }
  }

  #list(store: ResumableStore): StoreWatch {
    this.#cluster.coverage.relists++;
    const { result, watch } = store.viewAndWatch((tx) => {
      this.#cluster.reference.compare(tx);
      return { version: tx.version, objects: objectsOf(tx) };
    });
    this.version = result.version;
    this.#objects = result.objects;
    return watch;
  }

  async #consume(watch: StoreWatch, store: ResumableStore): Promise<void> {
    try {
      for await (const commit of watch) {
        // What a process that has died still does nobody sees.
        if (this.#watch !== watch || this.#life?.alive !== true) return;
        this.#see(commit, store);
      }
    } catch (error) {
      if (!isTsswarmError(error, 'UNAVAILABLE')) this.#world.fail(`watch: it ended with ${String(error)}`);
    }
    if (this.#watch === watch) this.#watch = undefined;
  }

  #see(commit: StoreCommit, store: ResumableStore): void {
    const { reference, coverage } = this.#cluster;
    const expected = reference.after(this.version);
    if (commit.version !== expected)
      return this.#world.fail(
        `watch: ${commit.version} came after ${this.version} at ${this.#member?.id}, not ${expected}`,
      );
    const wrong = advance(this.#objects, commit);
    if (wrong !== undefined) return this.#world.fail(`watch: in commit ${commit.version} ${wrong}`);
    this.version = commit.version;
    coverage.watched++;
    if (coverage.watched % COMPARE_EVERY !== 0) return;
    const must = reference.at(this.version);
    if (must === undefined || textOf(must) !== textOf(this.#objects))
      this.#world.fail(`watch: the commits up to ${this.version} come to\n${textOf(this.#objects)}`);
    store.view((tx) => reference.compare(tx));
  }
}

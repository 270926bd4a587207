import { TsswarmError } from '../../base/errors.ts';
import type { ConfigId, ProjectId, VolumeId } from '../../base/ids.ts';
import { startRaft } from '../../manager/raft/loop.ts';
import type { Raft } from '../../manager/raft/types.ts';
import { replicatedStore } from '../../manager/store/replicated.ts';
import type { ResumableStore, WriteTransaction } from '../../manager/store/types.ts';
import type { Config, Volume } from '../../proto/types/index.ts';
import type { Contents, Found, Hooks, MemberOptions, Write } from './contents.ts';
import type { Reference } from './reference.ts';
import { slowClock } from './world.ts';
import type { World } from './world.ts';

const META = { version: 0, createdAt: 0, updatedAt: 0 };

/**
 * The product's store on the log. A key is a volume whose name in compose is the value, and a config that changes with it: its
 * index by project, its unique name and its data follow the value, so that a transaction that was torn apart shows.
 */
export class Stored implements Contents {
  readonly #hooks: Hooks;
  readonly #world: World;
  readonly #reference: Reference;
  readonly #skewMs: number | undefined;
  store: ResumableStore | undefined;

  /** @param skewMs by what the clock of its machine is wrong; undefined: it is drawn anew */
  constructor(world: World, hooks: Hooks, reference: Reference, skewMs: number | undefined) {
    this.#skewMs = skewMs;
    this.#world = world;
    this.#hooks = hooks;
    this.#reference = reference;
  }

  async start(options: MemberOptions): Promise<Raft> {
    const { machine, attach } = replicatedStore(slowClock(this.#world, options.clock, this.#skewMs));
    const raft = await startRaft({
      ...options,
      machine: {
        apply: (entry) => {
          this.#hooks.applied(entry);
          machine.apply(entry);
        },
        snapshot: () => machine.snapshot(),
        restore: async (snapshot) => {
          await this.#hooks.delay();
          await machine.restore(snapshot);
          this.#hooks.restored(snapshot.index);
          this.check();
        },
      },
    });
    this.store = attach(raft).store;
    return raft;
  }

  get(key: string): Found {
    const volume = this.store?.view((tx) => tx.get('volume', key as VolumeId));
    return { value: volume?.spec.composeName ?? '', proof: volume };
  }

  async write(writes: readonly Write[]): Promise<void> {
    // A leader that is deposed without knowing it may have something else under the same version, at an index that never comes to be: what
    // is built on that, and not on what is committed, is no fault unless it is acknowledged.
    let lost: string | undefined;
    await this.store?.update((tx) => {
      for (const { operation, seen } of writes) {
        const found = tx.get('volume', operation.key as VolumeId)?.spec.composeName ?? '';
        // The transaction commits on top of exactly what it saw, or not at all: stronger than a blind write.
        const blind = operation.kind === 'put';
        operation.kind = 'cas';
        operation.result = operation.expected = found;
        put(tx, operation.key, operation.value, blind ? undefined : seen);
        if (blind || (seen?.value ?? '') === found) continue;
        lost = `optimistic versions: "${seen?.value}" was changed although "${found}" had taken its place`;
        if (this.get(operation.key).value === found) this.#hooks.fail(lost);
      }
    });
    if (lost !== undefined) this.#hooks.fail(lost);
  }

  describe(): string {
    return this.check() ?? '';
  }

  /** Compares the whole state with what it must be; returns it. */
  check(): string | undefined {
    return this.store?.view((tx) => this.#reference.compare(tx));
  }
}

/** @param seen what the client read before; undefined: it does not care what is there */
function put(tx: WriteTransaction, key: string, value: string, seen: Found | undefined): void {
  const id = key as VolumeId;
  const volume = seen === undefined ? tx.get('volume', id) : (seen.proof as Volume | undefined);
  const configId = `c-${key}` as ConfigId;
  if (value === '') {
    // Removing has no version: the client looks at what it removes in the same transaction.
    const present = tx.get('volume', id);
    if (present === undefined || (seen !== undefined && present.meta.version !== volume?.meta.version))
      throw new TsswarmError('CONFLICT', `removing "${key}": it is not what was read`);
    tx.remove('volume', id);
    return tx.remove('config', configId);
  }
  const config = (before: Config | undefined): Config => ({
    id: configId,
    meta: before?.meta ?? META,
    projectId: `p${value.length % 3}-${Number(value.slice(1)) % 3}` as ProjectId,
    spec: { name: `${key}-${value}`, composeName: value, labels: {}, data: Buffer.from(value) },
  });
  const spec = { name: key, composeName: value, driver: 'local', driverOptions: {}, labels: { written: value } };
  if (volume === undefined) {
    tx.create('volume', { id, meta: META, projectId: '', spec, pendingDelete: false });
    return tx.create('config', config(undefined));
  }
  tx.update('volume', { ...volume, spec });
  tx.update('config', config(tx.get('config', configId)));
}

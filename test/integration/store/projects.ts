import type { ProjectId } from '../../../base/ids.ts';
import type { Store } from '../../../manager/store/types.ts';

const meta = { version: 0, createdAt: 0, updatedAt: 0 };

/** Writes projects p<first>, … one after another for ever, and says each name once its write was acknowledged. */
export async function writeProjects(store: Store, first: number): Promise<never> {
  for (let i = first; ; i++) {
    const name = `p${i}`;
    await store.update((tx) =>
      tx.create('project', {
        id: name as ProjectId,
        meta,
        name,
        revision: i,
        hash: '',
        workingDir: '/',
        configFiles: [],
      }),
    );
    process.stdout.write(`${name}\n`);
  }
}

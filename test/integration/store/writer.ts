/** Writes projects one after another and says each name once its write was acknowledged; killed by the test. */
import { systemClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/log.ts';
import type { ProjectId } from '../../../base/ids.ts';
import { systemRandom } from '../../../base/random.ts';
import { openStore } from '../../../manager/store/index.ts';

const [dir = '', first = '0'] = process.argv.slice(2);
const { store } = await openStore({
  dir,
  id: 'a',
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
  onFatal: () => process.exit(1),
  snapshotEvery: 50,
  trailing: 10,
});
const meta = { version: 0, createdAt: 0, updatedAt: 0 };
for (let i = Number(first); ; i++) {
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

/** Writes projects one after another and says each name once its write was acknowledged; killed by the test. */
import { systemClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { openStore } from '../../../manager/store/index.ts';
import { writeProjects } from './projects.ts';

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
await writeProjects(store, Number(first));

/**
 * Writes projects one after another, and says each name once its write was acknowledged; meanwhile locks the store's keys with
 * one unlock key after the other, as a manager does. Killed by the test.
 *
 * Usage: locking-writer.ts DIR FIRST_NUMBER
 */
import { systemClock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { dekDisk, openVault } from '../../../manager/raft/seal/index.ts';
import { dekFile, openStore } from '../../../manager/store/index.ts';
import { kekOf, kekThatFits } from './locking-keys.ts';
import { writeProjects } from './projects.ts';

const [dir = '', first = '0'] = process.argv.slice(2);
const disk = dekDisk(dekFile(dir), systemRandom);
const vault = openVault(disk, kekThatFits(disk.lock()), systemRandom);
const { store, reseal } = await openStore({
  dir,
  id: 'a',
  vault,
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
  onFatal: () => process.exit(1),
  snapshotEvery: 50,
  trailing: 10,
});
if (vault.hasOldKeys) {
  await reseal();
  vault.dropOldKeys();
}

async function changeLocks(): Promise<void> {
  for (let i = vault.lockIndex + 1; ; i++) {
    // Every fifth time it lies open.
    vault.relock(kekOf(i), i);
    await reseal();
    vault.dropOldKeys();
    process.stdout.write('locked\n');
  }
}
void changeLocks();
await writeProjects(store, Number(first));

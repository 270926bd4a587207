import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemRandom } from '../../base/random.ts';
import { dekDisk, newUnlockKey, openVault, parseUnlockKey } from '../../manager/raft/seal/index.ts';
import { identityDisk } from '../../worker/identity/index.ts';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

describe('autolock on three managers', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsalk', 4);
    lab.form(2);
  });
  after(() => lab.dispose());

  const file = (index: number, ...path: string[]): string => join(lab.machine(index).stateDir, ...path);
  /** Id of the key that locks the keys of a machine. */
  const lockedBy = (index: number): string | undefined =>
    (JSON.parse(readFileSync(file(index, 'manager', 'dek.json'), 'utf8')) as { lockedBy?: string }).lockedBy;
  const keyIsInTheClear = (index: number): boolean =>
    readFileSync(file(index, 'identity', 'node.pem'), 'utf8').includes('BEGIN PRIVATE KEY');
  const unlock = (index: number, key: string) => lab.machine(index).runWith({ input: `${key}\n` }, 'tsswarm', 'unlock');
  const key = (): string => lab.machine(0).ok('tsswarm', 'unlock-key', '-q').trim();
  const role = (index: number): string =>
    (JSON.parse(lab.machine(index).ok('tsswarm', 'status', '--format', 'json')) as { role: string }).role;
  const nodes = (via = 0): string => lab.machine(via).ok('tsswarm', 'node', 'ls');

  it('locks every manager, whoever is asked, and no worker', async () => {
    assert.deepEqual([0, 1].map(lockedBy), [undefined, undefined]);
    lab.machine(1).ok('tsswarm', 'update', '--autolock=true');
    await eventually(() => (lockedBy(0) !== undefined && !keyIsInTheClear(0) ? true : undefined), 'the other manager');
    assert.equal(lockedBy(0), lockedBy(1));
    assert.ok(keyIsInTheClear(2) && !existsSync(file(2, 'manager', 'dek.json')));
  });

  it('locks a manager that joins', async () => {
    lab.machine(3).ok('tsswarm', 'leave');
    lab.join(3, lab.machine(0).ok('tsswarm', 'join-token', '-q', 'manager').trim());
    await eventually(() => (lockedBy(3) === lockedBy(0) && !keyIsInTheClear(3) ? true : undefined), 'a locked manager');
  });

  it('asks a manager that was down for the key that it had, and gives it the new one then', async () => {
    const old = key();
    await lab.kill(3);
    lab.machine(1).ok('tsswarm', 'unlock-key', '--rotate');
    await eventually(() => (lockedBy(0) === lockedBy(1) ? true : undefined), 'the new key everywhere');
    assert.notEqual(key(), old);
    lab.start(3);
    const { code, stderr } = unlock(3, key());
    assert.notEqual(code, 0);
    assert.match(stderr, /the unlock key is wrong/);
    assert.equal(unlock(3, old).code, 0);
    await eventually(() => (lockedBy(3) === lockedBy(0) ? true : undefined), 'the new key on the third');
    await lab.kill(3);
    lab.start(3);
    assert.equal(unlock(3, key()).code, 0);
    await eventually(() => (/m3\s+Ready\s+Active\s+Reachable/.test(nodes()) ? true : undefined), 'three managers');
  });

  it('unlocks a manager that becomes a worker, and locks it when it is one again', async () => {
    lab.machine(0).ok('tsswarm', 'node', 'demote', 'm3');
    await eventually(() => (role(3) === 'worker' && keyIsInTheClear(3) ? true : undefined), 'a worker');
    await eventually(() => (existsSync(file(3, 'manager', 'dek.json')) ? undefined : true), 'no keys of a manager');
    await lab.kill(3);
    lab.start(3);
    assert.doesNotMatch(lab.machine(3).ok('tsswarm', 'status'), /Locked/);
    lab.machine(0).ok('tsswarm', 'node', 'promote', 'm3');
    await eventually(() => (existsSync(file(3, 'manager', 'dek.json')) ? true : undefined), 'a manager');
    await eventually(() => (lockedBy(3) === lockedBy(0) ? true : undefined), 'a locked manager');
  });

  it('asks for the key also where a crash came between becoming a worker and forgetting what a manager has', async () => {
    await lab.kill(2);
    const unlockKey = newUnlockKey(systemRandom);
    const vault = openVault(dekDisk(file(2, 'manager', 'dek.json'), systemRandom), undefined, systemRandom);
    vault.relock(parseUnlockKey(unlockKey), 1);
    await identityDisk(file(2, 'identity'), () => ({ active: true, seal: vault.seal, open: vault.open })).reseal();
    assert.ok(!keyIsInTheClear(2));
    lab.start(2);
    assert.match(lab.machine(2).ok('tsswarm', 'status'), /Locked/);
    assert.equal(unlock(2, unlockKey).code, 0);
    assert.equal(role(2), 'worker');
    assert.ok(keyIsInTheClear(2) && !existsSync(file(2, 'manager', 'dek.json')));
    await eventually(() => (/m2\s+Ready/.test(nodes()) ? true : undefined), 'the worker');
  });

  it('comes back when all managers were switched off and are unlocked', async () => {
    const now = key();
    await Promise.all([0, 1, 2, 3].map((index) => lab.kill(index)));
    for (const index of [0, 1, 2, 3]) lab.start(index);
    for (const index of [0, 1, 3]) assert.match(lab.machine(index).ok('tsswarm', 'status'), /Locked/);
    for (const index of [0, 1, 3]) assert.equal(unlock(index, now).code, 0, `machine ${index}`);
    await eventually(() => (lab.machine(0).run('tsswarm', 'node', 'ls').code === 0 ? true : undefined), 'a leader');
    await eventually(() => (/m2\s+Ready/.test(nodes()) ? true : undefined), 'the worker');
  });
});

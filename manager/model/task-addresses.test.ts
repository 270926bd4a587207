import assert from 'node:assert/strict';
import type { NetworkId } from '../../base/ids.ts';
import type { Task, TaskAddress } from '../../proto/types/index.ts';
import { service, task } from '../../test/builders/objects.ts';
import { settleChange } from './live-change.ts';
import { goingAddresses, heldAddresses, isOnNetwork, steadyAddresses } from './task-addresses.ts';

const at = (network: string, host: number): TaskAddress => ({
  networkId: network as NetworkId,
  ipv4: `10.1.0.${host}`,
});
const WEB = service('web');
const moving = (before: readonly TaskAddress[], after: readonly TaskAddress[], change: Partial<Task> = {}): Task =>
  task(WEB, 1, {}, {
    addresses: after,
    specVersion: 2,
    changing: { spec: WEB.spec.task, specVersion: 1, addresses: before },
    ...change,
  }); // prettier-ignore

describe('the addresses of a task', () => {
  it('are its own while nothing changes', () => {
    const quiet = task(WEB, 1, {}, { addresses: [at('a', 1)] });
    const changing = { ...quiet, changing: { spec: WEB.spec.task, specVersion: 1 } };
    for (const one of [quiet, changing]) {
      assert.equal(heldAddresses(one), one.addresses);
      assert.equal(steadyAddresses(one), one.addresses);
      assert.deepEqual(goingAddresses(one), []);
    }
  });

  it('lead to it, in a change of its networks, where they are the same before and after; nobody else gets any of them', () => {
    const one = moving([at('a', 1), at('b', 2)], [at('c', 3), at('b', 2)]);
    assert.deepEqual(heldAddresses(one), [at('c', 3), at('b', 2), at('a', 1)]);
    assert.deepEqual(steadyAddresses(one), [at('b', 2)]);
    assert.deepEqual(goingAddresses(one), [at('a', 1)]);
    assert.ok(isOnNetwork(one, 'a') && isOnNetwork(one, 'c') && !isOnNetwork(one, 'd'));
  });

  it('are both for a moment where one network gives another one', () => {
    const one = moving([at('a', 1)], [at('a', 9)]);
    assert.deepEqual(heldAddresses(one), [at('a', 9), at('a', 1)]);
    assert.deepEqual(steadyAddresses(one), []);
  });

  it('are the new ones when its node has changed it, and the old ones when it has not', () => {
    const before = [at('a', 1)];
    const after = [at('a', 1), at('b', 2)];
    const one = moving(before, after);
    const done = settleChange({
      ...one,
      status: { ...one.status, applied: { specVersion: 2, how: 'live', reason: '' } },
    });
    assert.deepEqual([done.addresses, done.changing], [after, undefined]);
    const refused = settleChange({ ...one, status: { ...one.status, refused: { specVersion: 2, reason: 'no' } } });
    assert.deepEqual([refused.addresses, refused.changing, refused.specVersion], [before, undefined, 1]);
    const ended = settleChange({ ...one, status: { ...one.status, state: 'failed' } });
    assert.deepEqual(
      [ended.addresses, ended.changing, ended.specVersion, ended.refused],
      [before, undefined, 1, undefined],
    );
  });
});

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { createBalancer } from '../../../worker/overlay/balance/index.ts';
import type { Balancer } from '../../../worker/overlay/balance/index.ts';
import { VirtualClock } from '../../fakes/virtual-clock.ts';

const ID = 'container' as ContainerId;
const networkId = 'network' as NetworkId;
const VIP = '10.9.0.254';

describe('the virtual addresses of the containers of a node', () => {
  const space = `tsbls${process.pid}`;
  const netnsPath = `/var/run/netns/${space}`;
  let clock: VirtualClock;
  let balancer: Balancer;
  const lead = (...endpoints: readonly string[]): void =>
    balancer.setAddresses([{ networkId, address: VIP, endpoints, affinity: false }]);
  const attach = (fresh: boolean): Promise<void> =>
    balancer.attach({ containerId: ID, netnsPath, networks: [networkId], fresh });
  const rules = (): string =>
    spawnSync('ip', ['netns', 'exec', space, 'nft', 'list', 'ruleset'], { encoding: 'utf8' }).stdout;

  beforeEach(() => {
    execFileSync('ip', ['netns', 'add', space]);
    clock = new VirtualClock();
    balancer = createBalancer({ clock, logger: silentLogger });
    lead('10.9.0.11');
  });
  afterEach(() => {
    balancer.close();
    execFileSync('ip', ['netns', 'del', space]);
  });

  it('cost one that has just been made nothing until it asks for one', async () => {
    await attach(true);
    lead('10.9.0.11', '10.9.0.12');
    lead();
    assert.equal(await balancer.settled(), true);
    assert.equal(rules(), '');
    lead('10.9.0.13');
    assert.equal(await balancer.ready(ID), true);
    assert.match(rules(), /10\.9\.0\.13/);
    assert.equal(balancer.ready(ID), undefined);
    lead('10.9.0.14');
    assert.equal(await balancer.settled(), true);
    assert.match(rules(), /10\.9\.0\.14/);
  });

  it('are there without a question, too, when no other container has been made for a while', async () => {
    await attach(true);
    await clock.advance(200);
    await balancer.attach({ containerId: 'other' as ContainerId, netnsPath, networks: [], fresh: true });
    await clock.advance(200);
    assert.equal(await balancer.settled(), true);
    assert.equal(rules(), '');
    await clock.advance(100);
    assert.equal(await balancer.settled(), true);
    assert.match(rules(), /10\.9\.0\.11/);
  });

  it('are taken over at once in one that runs', async () => {
    await attach(false);
    assert.match(rules(), /10\.9\.0\.11/);
    assert.equal(balancer.ready(ID), undefined);
  });

  it('are not said to lead anywhere where they cannot be made', async () => {
    const containerId = 'gone' as ContainerId;
    await balancer.attach({ containerId, netnsPath: `${netnsPath}-gone`, networks: [networkId], fresh: true });
    assert.equal(await balancer.ready(containerId), false);
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { silentLogger } from '../../../base/log.ts';
import type { NamespaceGuard } from '../../../node-engine/network/index.ts';
import { BALANCE_TABLE, balanceNamespace, createNamespaceGuard } from '../../../node-engine/network/index.ts';
import { FRONT, containerId, on } from './fixtures.ts';
import { eventually } from '../launcher/fixture.ts';
import { openLab, show } from './lab.ts';
import type { Lab } from './lab.ts';

const VIP = '10.9.0.254';
const SIX = 'fd09::254';

describe('rules in a container', () => {
  const name = `tsguard${process.pid}`;
  const netns = `/var/run/netns/${name}`;
  const rules = (): string => show(netns, 'nft', 'list', 'ruleset');
  let guard: NamespaceGuard;
  before(() => execFileSync('ip', ['netns', 'add', name]));
  after(() => execFileSync('ip', ['netns', 'del', name]));
  beforeEach(() => {
    guard = createNamespaceGuard(silentLogger);
  });
  afterEach(() => guard.close());

  it('are made again at once when somebody flushes them', async () => {
    const balancer = balanceNamespace(netns, 'a test');
    const unguard = guard.guard(netns, [BALANCE_TABLE], () => balancer.repair());
    await balancer.set(
      new Map([
        [VIP, ['10.9.0.2', '10.9.0.3']],
        [SIX, ['fd09::2']],
      ]),
    );
    const before = rules();
    assert.match(before, /10\.9\.0\.254 : goto of_2/);
    assert.match(before, /fd09::254 : goto of_1/);
    // More than once: it goes on looking.
    for (const command of [
      'flush ruleset',
      `delete table ip ${BALANCE_TABLE}`,
      `flush chain ip6 ${BALANCE_TABLE} output`,
    ]) {
      show(netns, 'nft', command);
      await eventually(async () => rules() === before);
    }
    unguard();
    show(netns, 'nft', 'flush', 'ruleset');
  });

  it('are left alone when the daemon itself changes them, or somebody has others', async () => {
    const balancer = balanceNamespace(netns, 'a test');
    let mended = 0;
    const unguards = [
      guard.guard(netns, [BALANCE_TABLE], async () => {
        mended++;
        await balancer.repair();
      }),
    ];
    const heard = new Promise<void>((resolve) => {
      unguards.push(guard.guard(netns, ['theirs'], async () => resolve()));
    });
    for (let count = 0; count < 20; count++)
      await balancer.set(new Map([[VIP, Array.from({ length: count % 5 }, (_, index) => `10.9.0.${index + 1}`)]]));
    show(netns, 'nft', 'add', 'table', 'ip', 'theirs');
    // Heard in their order: whatever came before has been looked at.
    await heard;
    assert.equal(mended, 0);
    for (const unguard of unguards) unguard();
  });

  it('lead to the resolver again after a flush', async () => {
    let lab: Lab | undefined;
    try {
      lab = await openLab();
      await lab.call('ensureBridge', FRONT);
      const netnsPath = await lab.call('createSandbox', containerId('a'), {
        mode: 'networks',
        interfaces: [on(FRONT, 2)],
      });
      await lab.call('attach', { containerId: containerId('a'), netnsPath, networks: [FRONT.id], dns: [] });
      const resolver = (): string => show(netnsPath, 'nft', 'list', 'table', 'ip', 'tsswarm_resolver');
      const before = resolver();
      assert.match(before, /chain query/);
      show(netnsPath, 'nft', 'flush', 'ruleset');
      await eventually(async () => resolver() === before);
      assert.match((await lab.call('log')).join('\n'), /somebody has changed rules in a container/);
    } finally {
      await lab?.close();
    }
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { seededRandom } from '../../../base/random.ts';
import { kernel } from '../../../node-engine/network/kernel.ts';
import { transaction } from '../../../node-engine/network/nfnetlink.ts';
import { elementRequests } from '../../../node-engine/network/ruleset-elements.ts';
import { EMPTY_RULESET, changeRules, createRules, elementChanges } from '../../../node-engine/network/ruleset.ts';
import type { Ruleset } from '../../../node-engine/network/ruleset.ts';

describe('changes of the rules of a node by requests', () => {
  const space = `tsrul${process.pid}`;
  const netns = `/var/run/netns/${space}`;
  const nft = (input: string, ...argv: readonly string[]): string =>
    execFileSync('ip', ['netns', 'exec', space, 'nft', ...argv], { input, encoding: 'utf8' });
  const listed = (table: string): string => nft('', 'list', 'table', 'ip', table).replaceAll(table, 'table');
  before(() => {
    execFileSync('ip', ['netns', 'add', space]);
    for (const table of ['one', 'two']) nft(createRules(table, EMPTY_RULESET), '-f', '-');
  });
  after(() => execFileSync('ip', ['netns', 'del', space]));

  it('make what nft(8) makes of the same changes as text, neighbours and the end of all addresses included', async () => {
    const random = seededRandom(3);
    const subnets = ['10.1.0.0/24', '10.1.1.0/24', '10.1.2.0/23', '255.255.255.0/24', '10.1.4.16/28'];
    const all: Ruleset = {
      bridges: subnets.map((subnet, index) => ({ name: `ts-bridge-${index}`, subnet, internal: false })),
      hardware: ['eth0', 'enp0s31f6'],
      ipv6Hardware: [],
      guarded: [
        { protocol: 'tcp', port: 2377 },
        { protocol: 'udp', port: 4789 },
      ],
      kept: [
        { protocol: 'tcp', port: 80 },
        { protocol: 'sctp', port: 40_000 },
      ],
      nodes: [
        { meshAddress: '169.254.192.2', addresses: ['10.77.0.2', '198.51.100.7', 'fd77::2'] },
        { meshAddress: '169.254.255.254', addresses: ['192.0.2.9'] },
      ],
    };
    const some = <T>(of: readonly T[]): readonly T[] => of.filter(() => random.next() < 0.6);
    let last = EMPTY_RULESET;
    for (let round = 0; round < 25; round++) {
      const next: Ruleset = {
        ...all,
        bridges: some(all.bridges).map((bridge) => ({ ...bridge, internal: random.next() < 0.3 })),
        hardware: some(all.hardware),
        guarded: some(all.guarded),
        kept: some(all.kept),
        nodes: some(all.nodes),
      };
      nft(changeRules('one', last, next), '-f', '-');
      const requests = elementRequests('two', elementChanges(last, next));
      if (requests.length > 0) await kernel('a test', { netns, netfilter: transaction(requests) });
      assert.equal(listed('two'), listed('one'), `round ${round}`);
      last = next;
    }
  });
});

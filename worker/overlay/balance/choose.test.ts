import assert from 'node:assert/strict';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import type { BalancedAddress } from '../../agent/balanced.ts';
import { addressesOf, isUrgent } from './choose.ts';

const [ONE, TWO] = ['one', 'two'] as NetworkId[];
const VIP = '10.1.0.254';
const balanced = (
  networkId: NetworkId | undefined,
  endpoints: readonly string[],
  affinity = false,
): BalancedAddress => ({
  networkId: networkId as NetworkId,
  address: VIP,
  endpoints,
  affinity,
});
const container = (index: number): ContainerId => `container-${index}` as ContainerId;
const FOUR = ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4'];

describe('the virtual addresses of a container', () => {
  it('are those of its networks', () => {
    assert.deepEqual(addressesOf(container(1), [ONE as NetworkId], [balanced(TWO, FOUR)], new Map()), new Map());
    assert.deepEqual(
      addressesOf(container(1), [ONE as NetworkId], [balanced(ONE, FOUR)], new Map()),
      new Map([[VIP, FOUR]]),
    );
  });

  it('keep it to one endpoint as long as that is there', () => {
    let before: ReadonlyMap<string, readonly string[]> = new Map();
    const look = (endpoints: readonly string[]): readonly string[] => {
      before = addressesOf(container(1), [ONE as NetworkId], [balanced(ONE, endpoints, true)], before);
      return before.get(VIP) ?? [];
    };
    const [chosen] = look(FOUR);
    assert.ok(chosen !== undefined && FOUR.includes(chosen));
    assert.deepEqual(look([...FOUR, '10.1.0.5', '10.1.0.6', '10.1.0.7', '10.1.0.8']), [chosen]);
    const [next] = look(FOUR.filter((one) => one !== chosen));
    assert.ok(next !== chosen);
    assert.deepEqual(look(FOUR), [next]);
    assert.deepEqual(look([]), []);
  });

  it('spread containers over the endpoints, and choose the same without knowing of before', () => {
    const counts = new Map<string, number>();
    for (let index = 0; index < 400; index++) {
      const of = (): readonly string[] =>
        addressesOf(container(index), [ONE as NetworkId], [balanced(ONE, FOUR, true)], new Map()).get(VIP) ?? [];
      const [chosen = ''] = of();
      assert.deepEqual(of(), [chosen]);
      counts.set(chosen, (counts.get(chosen) ?? 0) + 1);
    }
    assert.equal(counts.size, 4);
    for (const [endpoint, count] of counts) assert.ok(count > 60, `${endpoint}: ${count} of 400`);
  });
});

describe('a change of virtual addresses', () => {
  const urgent = (before: readonly BalancedAddress[], now: readonly BalancedAddress[]): boolean =>
    isUrgent(before, now);

  it('can wait while endpoints come to others', () => {
    assert.equal(urgent([balanced(ONE, ['10.1.0.1'])], [balanced(ONE, FOUR)]), false);
    assert.equal(urgent([balanced(ONE, FOUR)], [balanced(ONE, FOUR)]), false);
  });

  it('cannot when an endpoint is gone, the first one comes, or the address is new or gone', () => {
    assert.equal(urgent([balanced(ONE, FOUR)], [balanced(ONE, [...FOUR.slice(1), '10.1.0.5'])]), true);
    assert.equal(urgent([balanced(ONE, [])], [balanced(ONE, FOUR)]), true);
    assert.equal(urgent([], [balanced(ONE, [])]), true);
    assert.equal(urgent([balanced(ONE, [])], []), true);
    assert.equal(urgent([balanced(ONE, FOUR)], [balanced(ONE, FOUR, true)]), true);
  });
});

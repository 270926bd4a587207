import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NO_COVERAGE } from './cluster.ts';
import { checkRegister } from './linearizability.ts';
import type { Operation } from './linearizability.ts';
import { MUTATIONS } from './mutations/list.ts';
import { PROFILE_NAMES } from './profile.ts';
import type { ProfileName } from './profile.ts';
import { simulate } from './simulate.ts';

/** For each profile; by hand: `npm run test:simulation -- 100000 <first seed>`. */
const SEEDS = Number(process.env['TSSWARM_SIMULATION_SEEDS'] ?? 400);
const FIRST = Number(process.env['TSSWARM_SIMULATION_FIRST'] ?? 1);

/** A seed of services takes as long as many of Raft alone. */
const seedsOf = (profile: ProfileName): number => (profile === 'services' ? Math.ceil(SEEDS / 2) : SEEDS);

describe(`The cluster in a simulated machine room, ${SEEDS} seeds a profile from ${FIRST}`, function () {
  this.timeout(SEEDS * 5000 + 10_000);
  const total = { ...NO_COVERAGE };

  for (const profile of PROFILE_NAMES) {
    it(`keeps every promise under ${profile} faults, and recovers`, async () => {
      for (let seed = FIRST; seed < FIRST + seedsOf(profile); seed++) {
        const { violation, coverage } = await simulate(seed, profile);
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += coverage[key];
        assert.equal(violation, undefined, `npm run test:simulation -- 1 ${seed} ${profile}\n${violation}`);
      }
    });
  }

  it('made happen what it is there for', () => {
    for (const [name, count] of Object.entries(total)) assert.ok(count > 0, `no ${name} in ${SEEDS} seeds`);
  });

  it('repeats a seed event by event', async () => {
    for (const profile of PROFILE_NAMES) {
      const [once, again] = [await simulate(77, profile), await simulate(77, profile)];
      assert.equal(once.hash, again.hash);
      assert.equal(once.events, again.events);
    }
  });
});

describe('the planted bugs', () => {
  it('still have their place in the source', () => {
    const raft = join(import.meta.dirname, '..', '..', 'manager', 'raft');
    const lost = MUTATIONS.filter(({ file, find }) => readFileSync(join(raft, file), 'utf8').split(find).length !== 2);
    assert.deepEqual(
      lost.map(({ name }) => name),
      [],
    );
  });
});

describe('the linearizability check', () => {
  const op = (change: Partial<Operation>): Operation => ({
    kind: 'put',
    key: 'k',
    value: '',
    expected: '',
    calledAt: 0,
    returnedAt: 1,
    result: '',
    ...change,
  });
  const put = (value: string, calledAt: number, returnedAt: number) => op({ value, calledAt, returnedAt });
  const get = (result: string, calledAt: number, returnedAt: number) =>
    op({ kind: 'get', result, calledAt, returnedAt });
  const cas = (expected: string, value: string, result: string, calledAt: number, returnedAt: number) =>
    op({ kind: 'cas', expected, value, result, calledAt, returnedAt });

  const cases: readonly [string, boolean, readonly Operation[]][] = [
    ['a read after a write finds it', true, [put('a', 0, 1), get('a', 2, 3)]],
    ['a read after a write must not find what was before', false, [put('a', 0, 1), get('', 2, 3)]],
    ['a read during a write may find either', true, [put('a', 0, 9), get('', 1, 2), get('a', 3, 4)]],
    ['but not the new and then the old', false, [put('a', 0, 9), get('a', 1, 2), get('', 3, 4)]],
    ['overlapping writes may go either way', true, [put('a', 0, 5), put('b', 1, 4), get('a', 6, 7)]],
    ['a write without answer may hold', true, [put('a', 0, Infinity), get('a', 9, 10)]],
    ['or not', true, [put('a', 0, Infinity), get('', 9, 10)]],
    ['but not come and go', false, [put('a', 0, Infinity), get('a', 2, 3), get('', 4, 5)]],
    ['a lost write is found out', false, [put('a', 0, 1), put('b', 2, 3), get('a', 4, 5)]],
    ['compare-and-swap has one winner', true, [cas('', 'a', '', 0, 5), cas('', 'b', 'a', 1, 4), get('a', 6, 7)]],
    ['and never two', false, [cas('', 'a', '', 0, 5), cas('', 'b', '', 1, 4)]],
  ];
  for (const [title, linearizable, history] of cases) {
    it(`knows: ${title}`, () => assert.equal(checkRegister(history) === undefined, linearizable));
  }
});

/**
 * `node test/simulation/mutations/main.ts [seeds] [first seed] [part of a name]`: plants one bug after another, and says which
 * are found by the directed tests, and after how many seeds by the simulation. Ends with 1 when a grave one is missed.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { MUTATIONS } from './list.ts';
import type { Mutation } from './list.ts';

const [seeds = '2000', first = '1', only] = process.argv.slice(2);
const root = join(import.meta.dirname, '..', '..', '..');
const load = join(import.meta.dirname, 'load.ts');
const run = (mutation: string | undefined, ...args: string[]) =>
  spawnSync(process.execPath, [...(mutation === undefined ? [] : ['--import', load]), ...args], {
    cwd: root,
    env: { ...process.env, ...(mutation === undefined ? {} : { TSSWARM_MUTATION: mutation }) },
    encoding: 'utf8',
    timeout: Number(process.env['TSSWARM_MUTATION_TIMEOUT_MS'] ?? 600_000),
  });
const MOCHA = ['node_modules/mocha/bin/mocha.js', '--exit', '--bail', '--timeout', '60000', '--reporter', 'min'];
// What is below the log is tested on real files elsewhere; here it is what a server makes of it at its start.
const RAFT_TESTS = [
  'manager/raft/core/*.test.ts',
  'manager/raft/*.test.ts',
  'test/contract/raft/snapshot-store.test.ts',
];
const STORE_TESTS = ['manager/store/*.test.ts', 'test/integration/store/members.test.ts'];
const ORCHESTRATOR_TESTS = ['test/scenario/*.test.ts'];
const SERVICE_TESTS = ['test/scenario/*.test.ts', 'manager/{ca,cluster,dispatcher,model,scheduler}/*.test.ts'];
const IDENTITY_TESTS = ['worker/identity/*.test.ts'];
const AGENT_TESTS = ['worker/agent/*.test.ts', 'worker/agent/*/*.test.ts'];
const testsOf = ({ file, profile }: Mutation): readonly string[] => {
  if (file.startsWith('../../worker/identity/')) return IDENTITY_TESTS;
  if (file.startsWith('../../worker/')) return AGENT_TESTS;
  if (profile === 'services') return SERVICE_TESTS;
  if (file.startsWith('../store/')) return STORE_TESTS;
  return file.startsWith('../') ? ORCHESTRATOR_TESTS : RAFT_TESTS;
};
/** Above the log only one profile has anything. */
const profileOf = ({ file, profile }: Mutation): readonly string[] =>
  profile !== undefined ? [profile] : file.startsWith('../') ? ['store'] : [];

const chosen = MUTATIONS.filter(({ name }) => only === undefined || name.includes(only));
const control = run(undefined, ...MOCHA, ...new Set(chosen.flatMap(testsOf)));
if (control.status !== 0) throw new Error(`the directed tests fail without any bug planted:\n${control.stdout}`);

let caught = 0;
let missedGrave = 0;
console.log('| planted bug | directed tests | simulation | what caught it |\n| --- | --- | --- | --- |');
for (const mutation of chosen) {
  const { name, grave } = mutation;
  const failing = run(name, ...MOCHA, ...testsOf(mutation)).status !== 0;
  const simulation = run(name, 'test/simulation/main.ts', seeds, first, ...profileOf(mutation));
  const seed = /^seed (\d+)/m.exec(simulation.stdout)?.[1];
  const after = seed === undefined ? '' : `after ${Number(seed) - Number(first) + 1}`;
  const what = /^at [\d.]+ ms: (?:n\d+: )?([^:\n]+)/m.exec(simulation.stdout)?.[1] ?? '';
  if (failing || seed !== undefined) caught++;
  else if (grave === true) missedGrave++;
  const stopped = simulation.error === undefined ? '' : ' (time is up)';
  console.log(
    `| ${name}${grave === true ? ' (grave)' : ''} | ${failing ? 'caught' : 'no'} | ${after || `no${stopped}`} | ${what} |`,
  );
}
console.log(`\n${caught} of ${chosen.length} caught, ${missedGrave} grave ones missed`);
process.exit(missedGrave === 0 ? 0 : 1);

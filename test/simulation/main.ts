/**
 * `npm run test:simulation -- [seeds] [first seed] [profile]`: runs seeds one after another and prints the first one that
 * fails. The same seed, profile and code make the same run: it is run twice and the hashes of its trace are compared.
 */
import { NO_COVERAGE } from './cluster.ts';
import { PROFILE_NAMES } from './profile.ts';
import type { ProfileName } from './profile.ts';
import { simulate } from './simulate.ts';

const [count = '100', first = '1', only] = process.argv.slice(2);
const profiles = only === undefined ? PROFILE_NAMES : PROFILE_NAMES.filter((name) => name === only);
if (profiles.length === 0) throw new Error(`the profile "${only}" is none of ${PROFILE_NAMES.join(', ')}`);
const total = { ...NO_COVERAGE };
let events = 0;
let simulatedMs = 0;
let failed = 0;
/** Seeds after which a long run says how far it is. */
const TELL_EVERY = 1000;
let done = 0;
const started = performance.now();
const summary = (): string => {
  const seconds = (performance.now() - started) / 1000;
  return (
    `${done} seeds from ${first} in ${seconds.toFixed(1)} s (${(done / seconds).toFixed(1)} a second, ` +
    `${Math.round(events / seconds)} events a second, ${(simulatedMs / 1000 / done).toFixed(1)} simulated s a seed), ${failed} failed`
  );
};
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const profile = profiles[seed % profiles.length] as ProfileName;
  const outcome = await simulate(seed, profile);
  events += outcome.events;
  simulatedMs += outcome.simulatedMs;
  done++;
  for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += outcome.coverage[key];
  if (done % TELL_EVERY === 0 && done < Number(count)) console.log(summary());
  if (outcome.violation === undefined) continue;
  failed++;
  const again = await simulate(seed, profile, true);
  console.log(
    `seed ${seed} profile ${profile} hash ${outcome.hash} (again: ${again.hash})\n${again.violation ?? outcome.violation}\n${JSON.stringify(outcome.shape)}`,
  );
  if (failed >= Number(process.env['TSSWARM_SIMULATION_FAILURES'] ?? 1)) break;
}
console.log(summary());
console.log(JSON.stringify(total));
process.exit(failed === 0 ? 0 : 1);

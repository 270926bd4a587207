/**
 * Boots Debian with its own kernel in a virtual machine and runs tests in it: pure cgroup v2, systemd, and links that a development
 * machine need not have. Prints what the guest printed, while it does; ends with 1 unless every suite passed.
 *
 * Usage: node test/vm/main.ts [--keep] [--grep=TITLE] [--minutes=N] [SUITE…]   (suites: see guest/run; none: all)
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  unwatchFile,
  watchFile,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeModulesDisk, makeProjectDisk } from '../../deploy/vm/project-disk.ts';
import { accelerator, runGuest } from '../../deploy/vm/qemu.ts';
import { BARE_INIT, makeGuestRoot } from '../../deploy/vm/root.ts';
import { readSuites } from './results.ts';

/** The whole of it, the making of the disks aside. */
const LIMIT_MINUTES = 30;
/** Suites that look at systemd; without one of them the guest does not start it. */
const WITH_SYSTEMD = ['node'];
/** Suites that run the commands. */
const WITH_COMMANDS = ['node'];
const IMAGES = ['busybox', 'nginx'];

const project = join(import.meta.dirname, '..', '..');
const keep = process.argv.includes('--keep');
const option = (name: string): string | undefined =>
  process.argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);
const limitMs = Number(option('minutes') ?? LIMIT_MINUTES) * 60_000;
const suites = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const cache = join(project, '.cache', 'vm');
mkdirSync(cache, { recursive: true });

execFileSync(join(project, 'deploy/setup/packages'), ['qemu-system-x86', 'mmdebstrap', 'e2fsprogs', 'busybox-static'], {
  stdio: 'inherit',
});
execFileSync('make', ['--silent', '-C', join(project, 'node-engine/native')], { stdio: 'inherit' });
const missing = IMAGES.filter((name) => !existsSync(join(project, '.cache/images', `${name}.tar`)));
if (missing.length > 0)
  execFileSync(process.execPath, [join(project, 'deploy/images/build.ts'), ...missing], { stdio: 'inherit' });

console.log('== root of the guest');
const root = makeGuestRoot(cache);
const work = mkdtempSync(join(cache, 'run-'));
const consolePath = join(work, 'console.log');
const resultsPath = join(work, 'results.log');
process.on('SIGINT', () => process.exit(130));
process.on('SIGTERM', () => process.exit(143));
let good = false;
try {
  const projectDisk = join(work, 'project.img');
  const modulesDisk = makeModulesDisk(project, cache);
  const isWanted = (names: readonly string[]): boolean =>
    suites.length === 0 || suites.some((name) => names.includes(name));
  const [systemd, commands] = [isWanted(WITH_SYSTEMD), isWanted(WITH_COMMANDS)];
  makeProjectDisk(project, projectDisk, { archives: IMAGES, suites, commands, grep: option('grep') ?? '' });
  console.log(`== guest (${accelerator()})`);
  const started = performance.now();
  const stopPrinting = printWhatIsAdded(resultsPath);
  const end = await runGuest({
    ...{ root, projectDisk, modulesDisk, consolePath, resultsPath, limitMs },
    ...(systemd ? {} : { init: BARE_INIT }),
  }).finally(stopPrinting);
  const results = readFileSync(resultsPath, 'utf8').replaceAll('\r', '');
  console.log(`== guest ${end.how} after ${Math.round((performance.now() - started) / 1000)} s ${end.detail}`);
  const ran = readSuites(results);
  good = end.how === 'powered off' && ran.complete && ran.suites.every(({ code }) => code === 0);
  for (const { name, code } of ran.suites)
    console.log(`${name}: ${code === 0 ? 'passed' : `failed (exit code ${code})`}`);
  if (!ran.complete) {
    console.log('the guest did not run to its end; the end of its console:');
    console.log(readFileSync(consolePath, 'utf8').split('\n').slice(-40).join('\n'));
  }
} finally {
  if (keep) console.log(`kept: ${work}`);
  else rmSync(work, { recursive: true, force: true });
}
process.exitCode = good ? 0 : 1;

/** Prints a file as it grows. @returns ends it, after all that is there */
function printWhatIsAdded(path: string): () => void {
  let printed = 0;
  writeFileSync(path, '');
  const print = (): void => {
    const text = readFileSync(path);
    process.stdout.write(text.subarray(printed).toString().replaceAll('\r', ''));
    printed = text.length;
  };
  watchFile(path, { interval: 1000 }, print);
  return () => {
    unwatchFile(path);
    print();
  };
}

import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import { probeSocket } from './client.ts';
import { instanceName } from './place.ts';
import type { NodePlace } from './place.ts';
import { hasSettings } from './settings.ts';
import { DAEMON_PROGRAM, EXIT_IN_USE, UNIT_TEMPLATE } from './program.ts';

const run = promisify(execFile);
const UNIT_NAME = 'tsswarm.service';
const UNIT_PATH = `/etc/systemd/system/${UNIT_NAME}`;
/** Lines of the daemon's log that are shown when it does not come up. */
const SHOWN_LOG_LINES = 15;
/** How long another command's daemon, which has the state open, is waited for. */
const OTHERS_MS = 30_000;

export interface StartOptions {
  readonly place: NodePlace;
  /** More flags for tsswarmd, as they are typed. */
  readonly flags: readonly string[];
  /** A systemd unit where systemd runs and the place is the default one; else a detached process. */
  readonly useSystemd: boolean;
}

/** How a node was started. */
export interface StartedNode {
  readonly by: 'systemd' | 'process';
  /** Where its log is read. */
  readonly log: string;
}

/** systemd is the init of this machine (sd_booted(3)). */
export const systemdRuns = (): boolean => existsSync('/run/systemd/system');

/**
 * Starts a node and returns when its socket answers.
 * @throws ALREADY_EXISTS when one runs there, PERMISSION_DENIED without root, UNAVAILABLE with the last lines of its log
 */
export async function startNode({ place, flags, useSystemd }: StartOptions): Promise<StartedNode> {
  if ((await probeSocket(place.socket)) === 'answers') {
    throw new TsswarmError('ALREADY_EXISTS', `starting a node: one runs at "${place.socket}" already`, {
      hint: 'see "tsswarm status"; to begin anew: tsswarm leave --force, then tsswarm init',
    });
  }
  if (process.geteuid?.() !== 0) {
    throw new TsswarmError('PERMISSION_DENIED', 'starting a node: it must be done by root', {
      hint: 'run the command with sudo',
    });
  }
  // A node that is started again keeps what it had.
  const parent =
    flags.includes('--cgroup-parent') || hasSettings(place.stateDir) ? [] : ['--cgroup-parent', instanceName(place)];
  const where = ['--state-dir', place.stateDir, '--run-dir', place.runDir, '--socket', place.socket];
  const args = [...where, ...parent, ...flags];
  return useSystemd && place.isDefault && systemdRuns() ? startUnit(args) : startDetached(place, args);
}

async function startDetached(place: NodePlace, args: readonly string[]): Promise<StartedNode> {
  const log = join(place.stateDir, 'tsswarmd.log');
  try {
    await mkdir(place.stateDir, { recursive: true, mode: 0o711 });
  } catch (cause) {
    throw new TsswarmError('INVALID_INPUT', `making "${place.stateDir}": ${errnoOf(cause) ?? messageOf(cause)}`, {
      cause,
    });
  }
  const file = await open(log, 'a', 0o600);
  const offset = (await file.stat()).size;
  try {
    // Descriptor 3: the daemon says there that it answers. Nothing is polled.
    const child = spawn(DAEMON_PROGRAM, [...args, '--ready-fd', '3'], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', file.fd, file.fd, 'pipe'],
    });
    const ready = child.stdio[3] as NodeJS.ReadableStream & { destroy(): void };
    let inUse = false;
    const outcome = await new Promise<string | undefined>((resolve) => {
      ready.once('data', () => resolve(undefined));
      child.once('error', (error) => resolve(messageOf(error)));
      child.once('exit', (code, signal) => {
        inUse = code === EXIT_IN_USE;
        resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`);
      });
    });
    ready.destroy();
    child.unref();
    if (outcome === undefined || (inUse && (await othersStart(place)))) return { by: 'process', log };
    throw startFailure(outcome, (await readFile(log)).subarray(offset).toString(), log);
  } finally {
    await file.close();
  }
}

/** Two commands may start the same node at the same moment: the one whose daemon came second waits for the first's. */
async function othersStart(place: NodePlace): Promise<boolean> {
  const deadline = performance.now() + OTHERS_MS;
  while (performance.now() < deadline) {
    if ((await probeSocket(place.socket)) === 'answers') return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

async function startUnit(args: readonly string[]): Promise<StartedNode> {
  const template = await readFile(UNIT_TEMPLATE, 'utf8');
  const command = [DAEMON_PROGRAM, ...args].map(quoteForUnit).join(' ');
  await writeFile(UNIT_PATH, template.replaceAll('@COMMAND@', command), { mode: 0o644 });
  await run('systemctl', ['daemon-reload']);
  try {
    await run('systemctl', ['enable', '--now', UNIT_NAME]);
  } catch (error) {
    const { stdout } = await run('journalctl', ['-u', UNIT_NAME, '-n', '50', '-o', 'cat', '--no-pager']).catch(() => ({
      stdout: '',
    }));
    throw startFailure(messageOf(error), stdout, `journalctl -u ${UNIT_NAME}`);
  }
  return { by: 'systemd', log: `journalctl -u ${UNIT_NAME}` };
}

/** Stops what `startNode` made at system level: the unit is disabled and its file removed. */
export async function removeUnit(): Promise<void> {
  if (!systemdRuns() || !existsSync(UNIT_PATH)) return;
  await run('systemctl', ['disable', UNIT_NAME]).catch(() => undefined);
  const { rm } = await import('node:fs/promises');
  await rm(UNIT_PATH, { force: true });
  await run('systemctl', ['daemon-reload']).catch(() => undefined);
}

/** systemd.service(5), "Command lines": quotes, and % and $ doubled. */
export function quoteForUnit(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[\w@%+=:,./$-]+$/.test(escaped) ? escaped : `"${escaped.replace(/(["\\])/g, '\\$1')}"`;
}

/** The reason that the daemon gave in its log, with the lines before it. */
function startFailure(outcome: string, log: string, where: string): TsswarmError {
  const lines = log.trim().split('\n').filter(Boolean).slice(-SHOWN_LOG_LINES);
  const reason = lastError(lines);
  return new TsswarmError('UNAVAILABLE', `starting the node: ${reason?.message ?? `it ended at once (${outcome})`}`, {
    hint: reason?.hint ?? `its log is at ${where}`,
    cause: new Error(lines.join('\n')),
  });
}

/**
 * The last line of level error in JSON lines; else what the daemon said on its way out, or a crash of the runtime, which is
 * not JSON and is shown as it is.
 */
export function lastError(
  lines: readonly string[],
): { readonly message: string; readonly hint: string | undefined } | undefined {
  let hint: string | undefined;
  for (const line of lines.toReversed()) {
    try {
      const entry = JSON.parse(line) as { level?: string; message?: string; reason?: string; hint?: string };
      if (entry.level !== 'error' || entry.message === undefined) continue;
      return { message: entry.reason ?? entry.message, hint: entry.hint };
    } catch {
      hint = /^hint: (.*)/.exec(line)?.[1] ?? hint;
      if (/error/i.test(line)) return { message: line.trim().replace(/^error: /, ''), hint };
    }
  }
  return undefined;
}

import { execFileSync, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clocks } from './clocks.ts';
import type { Lab } from './lab.ts';

/** What a fault is done to: who leads, and somebody else. */
export interface Targets {
  readonly leader: number;
  readonly follower: number;
  readonly clocks: Clocks;
}

/** Begins a fault. What it returns ends what `Lab.heal` and a start of the daemon do not. */
export type Fault = (lab: Lab, targets: Targets) => Promise<(() => void) | void> | (() => void) | void;

const FILE = 'filler';

/** A machine's disk without room; its state has a file system of its own. */
function fill(lab: Lab, index: number): () => void {
  const path = join(lab.machine(index).stateDir, FILE);
  try {
    writeFileSync(path, Buffer.alloc(1 << 28));
  } catch {
    // As much of it as there was room for is there.
  }
  return () => rmSync(path, { force: true });
}

/** Somebody else who syncs to the same disk all the time. */
function busyDisk(lab: Lab, index: number): () => void {
  const target = `of=${join(lab.machine(index).dir, FILE)}`;
  const writer = spawn('dd', ['if=/dev/zero', target, 'bs=256k', 'count=2000', 'oflag=dsync'], { stdio: 'ignore' });
  return () => {
    writer.kill('SIGKILL');
    rmSync(join(lab.machine(index).dir, FILE), { force: true });
  };
}

function pause(lab: Lab, index: number): (() => void) | undefined {
  const pid = lab.machine(index).daemonPid();
  if (pid === undefined) return undefined;
  process.kill(pid, 'SIGSTOP');
  return () => process.kill(pid, 'SIGCONT');
}

function terminate(lab: Lab, index: number): void {
  const pid = lab.machine(index).daemonPid();
  if (pid !== undefined) process.kill(pid, 'SIGTERM');
}

/** Index of the machine whose state lies on a small file system of its own. */
export const SMALL_DISK = 2;

/** Puts the state of that machine on a file system that can be filled. */
export function mountSmallDisk(lab: Lab): void {
  const { stateDir } = lab.machine(SMALL_DISK);
  execFileSync('mkdir', ['-p', stateDir]);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=192m', 'tmpfs', stateDir]);
}

export function unmountSmallDisk(lab: Lab): void {
  execFileSync('umount', ['-l', lab.machine(SMALL_DISK).stateDir]);
}

/** Seconds: certificates are not valid yet, or not any more, on a machine whose clock is that far off. */
const HOUR = 3600;
const YEAR = 365 * 24 * HOUR;

function stepClock({ clocks }: Targets, index: number, seconds: number): () => void {
  clocks.set(index, seconds);
  return () => clocks.set(index, 0);
}

export const FAULTS: Readonly<Record<string, Fault>> = {
  'kill -9 of the leader': (lab, { leader }) => lab.kill(leader),
  'kill -9 of a follower': (lab, { follower }) => lab.kill(follower),
  'kill -9 of two': async (lab, { leader, follower }) =>
    void (await Promise.all([lab.kill(leader), lab.kill(follower)])),
  'kill -9 of all': async (lab) => void (await Promise.all([0, 1, 2].map((index) => lab.kill(index)))),
  'stop of the leader': (lab, { leader }) => terminate(lab, leader),
  'leader cut off': (lab, { leader }) => lab.cut(leader),
  'follower cut off': (lab, { follower }) => lab.cut(follower),
  'leader hears nobody': (lab, { leader }) => lab.drop(leader, 'input', 100),
  'nobody hears the leader': (lab, { leader }) => lab.drop(leader, 'output', 100),
  'a fifth of all packets lost': (lab) => [0, 1, 2].forEach((index) => lab.drop(index, 'input', 20)),
  'leader paused': (lab, { leader }) => pause(lab, leader),
  'follower paused': (lab, { follower }) => pause(lab, follower),
  'full disk': (lab) => fill(lab, SMALL_DISK),
  'busy disk of the leader': (lab, { leader }) => busyDisk(lab, leader),
  'clock of the leader an hour ahead': (_, targets) => stepClock(targets, targets.leader, HOUR),
  'clock of the leader an hour behind': (_, targets) => stepClock(targets, targets.leader, -HOUR),
  'clock of the leader a year ahead': (_, targets) => stepClock(targets, targets.leader, YEAR),
  'clock of a follower a year behind': (_, targets) => stepClock(targets, targets.follower, -YEAR),
};

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Namespace } from './load.ts';

const PATIENCE_MS = 60_000;

/** When a task began to run, by its node, and its address. */
export interface Started {
  readonly address: string;
  /** Wall time, ms. */
  readonly at: number;
}

/**
 * How long it takes from "running" until a container elsewhere is told the address.
 * @param client namespace of the container that asks
 * @param name that all tasks bear
 * @param start starts one more task and resolves when the managers say that it runs
 * @returns ms of each
 */
export async function timesToName(
  client: Namespace,
  name: string,
  rounds: number,
  start: () => Promise<Started>,
): Promise<readonly number[]> {
  const child = spawn('nsenter', [...client, process.execPath, join(import.meta.dirname, 'name-watch.ts'), name], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const first = new Map<string, number>();
  let rest = '';
  child.stdout.on('data', (part: Buffer) => {
    const lines = (rest + String(part)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [address = '', time = ''] = line.split(' ');
      first.set(address, Number(time));
    }
  });
  const ended = once(child, 'close');
  try {
    await until(() => first.has('asking'), 'the client');
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { address, at } = await start();
      await until(() => first.has(address), `the name of ${address}`);
      times.push((first.get(address) ?? NaN) - at);
    }
    return times;
  } finally {
    child.stdin.end();
    await ended;
  }
}

/** Answers of a node's resolver to a container's questions for a name, in a second of the daemon's CPU time. */
export async function namesPerCpuSecond(client: Namespace, name: string, daemon: number): Promise<number> {
  const asking = spawn('nsenter', [...client, process.execPath, join(import.meta.dirname, 'name-load.ts'), name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const before = cpuSeconds(daemon);
  let said = '';
  asking.stdout.on('data', (part: Buffer) => (said += String(part)));
  await once(asking, 'close');
  return Number(said) / (cpuSeconds(daemon) - before);
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(user) + Number(system)) / 100;
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`waiting for ${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

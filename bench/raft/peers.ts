import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { freePorts } from '../../test/builders/free-ports.ts';

/** Something that answers etcd's put. */
export interface Peer {
  readonly name: string;
  /** host:port that takes writes: the leader's, where there are several members. */
  readonly endpoint: string;
  stop(): Promise<void>;
}

/** Starts own-server.ts with these arguments, as bin/tsswarmd starts Node: with its options for the collector. */
export function spawnOwn(...argv: readonly string[]): ChildProcessByStdio<Writable, Readable, null> {
  const script = readFileSync(join(import.meta.dirname, '..', '..', 'bin', 'tsswarmd'), 'utf8');
  const options = /^exec "\$node" (.*) "\$main" "\$@"$/m.exec(script)?.[1]?.split(' ');
  if (options === undefined) throw new Error('reading bin/tsswarmd: no line \'exec "$node" … "$main" "$@"\'');
  return spawn(process.execPath, [...options, join(import.meta.dirname, 'own-server.ts'), ...argv], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** Our store behind etcd's put, in a process of its own. */
export async function startOwn(dir: string): Promise<Peer> {
  const child = spawnOwn(dir);
  const [port] = (await Promise.race([once(createInterface(child.stdout), 'line'), failed(child, 'our server')])) as [
    string,
  ];
  return {
    name: 'tsswarm, 1 member',
    endpoint: `127.0.0.1:${port}`,
    async stop() {
      child.stdin.end();
      await ended(child);
    },
  };
}

export function etcdInstalled(): boolean {
  return spawnSync('etcd', ['--version']).status === 0;
}

/**
 * An etcd cluster of `count` members on loopback; resolves when it serves and every member is there.
 * @param isSealed its members talk to each other over TLS, with certificates that they make themselves
 */
export async function startEtcd(dir: string, count: number, isSealed = false): Promise<Peer> {
  const ports = await freePorts(count * 2);
  const members = Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    client: `http://127.0.0.1:${ports[i] ?? 0}`,
    peer: `${isSealed ? 'https' : 'http'}://127.0.0.1:${ports[count + i] ?? 0}`,
  }));
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const children = members.map(({ name, client, peer }) =>
    spawn(
      'etcd',
      [
        ['--name', name, '--data-dir', join(dir, name), '--initial-cluster', cluster, '--log-level', 'error'],
        ['--listen-client-urls', client, '--advertise-client-urls', client, '--logger', 'zap'],
        ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster-state', 'new'],
        isSealed ? ['--peer-auto-tls'] : [],
      ].flat(),
      { stdio: 'ignore' },
    ),
  );
  const stop = async (): Promise<void> => {
    for (const child of children) child.kill('SIGTERM');
    await Promise.all(children.map(ended));
  };
  try {
    const leader = await Promise.race([
      leaderOf(members.map(({ client }) => client)),
      ...children.map((child) => failed(child, 'etcd')),
    ]);
    const name = `etcd, ${count} member${count > 1 ? 's' : ''}${isSealed ? ', TLS' : ''}`;
    return { name, endpoint: leader.slice('http://'.length), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Asks every member until one says that it leads. */
async function leaderOf(clients: readonly string[]): Promise<string> {
  for (const giveUp = Date.now() + 20_000; Date.now() < giveUp;) {
    for (const client of clients) {
      const status = await fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}' })
        .then((answer) => answer.json() as Promise<{ leader?: string; header?: { member_id?: string } }>)
        .catch(() => undefined);
      const leader = status?.leader;
      if (leader !== undefined && leader !== '0' && leader === status?.header?.member_id) return client;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('starting etcd: no member leads after 20 s');
}

/** Rejects when the process ends. */
export async function failed(child: ChildProcess, what: string): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`starting ${what}: it ended with code "${code ?? 'none'}"`);
}

/** Resolves when the process has ended. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

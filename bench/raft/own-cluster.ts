import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import { freePorts } from '../../test/builders/free-ports.ts';
import { connected, put, range } from './load.ts';
import { ended, failed, spawnOwn } from './peers.ts';
import type { Peer } from './peers.ts';

export interface OwnCluster extends Peer {
  /** host:port of every member for clients. */
  readonly endpoints: readonly string[];
  /** Index of the member that takes writes. */
  leader(): Promise<number>;
  /** kill -9; resolves when it is dead. */
  kill(index: number): Promise<void>;
  /** Starts a killed one again; resolves when it serves. */
  start(index: number): Promise<void>;
}

/** Our store as `count` processes with mutual TLS between them; resolves when one takes writes. */
export async function startOwnCluster(dir: string, count: number): Promise<OwnCluster> {
  mkdirSync(dir, { recursive: true });
  const ports = await freePorts(count * 2);
  const ca = await caCluster();
  const identities = await Promise.all(Array.from({ length: count }, () => ca.member('manager')));
  ca.close();
  const servers = identities.map(({ node }, i) => ({
    id: node.nodeId as string,
    address: `127.0.0.1:${ports[i] ?? 0}`,
    voter: true,
  }));
  const endpoints = servers.map((_, i) => `127.0.0.1:${ports[count + i] ?? 0}`);
  const children: ChildProcess[] = [];
  const start = async (i: number): Promise<void> => {
    const file = join(dir, `${i}.json`);
    const member = { id: servers[i]?.id, servers, identity: identities[i]?.current, clientPort: ports[count + i] };
    writeFileSync(file, JSON.stringify(member), { mode: 0o600 });
    const child = spawnOwn(join(dir, String(i)), file);
    children[i] = child;
    await Promise.race([once(createInterface(child.stdout), 'line'), failed(child, 'our server')]);
  };
  const leader = async (): Promise<number> => {
    for (const giveUp = Date.now() + 20_000; Date.now() < giveUp; await delay(20)) {
      for (const [i, endpoint] of endpoints.entries()) {
        const found = await leads(endpoint).catch(() => false);
        if (found) return i;
      }
    }
    throw new Error('looking for the leader of our cluster: no member leads after 20 s');
  };
  const stop = async (): Promise<void> => {
    for (const child of children) child.stdin?.end();
    await Promise.all(children.map(ended));
  };
  const kill = async (i: number): Promise<void> => {
    children[i]?.kill('SIGKILL');
    if (children[i] !== undefined) await ended(children[i]);
  };
  try {
    await Promise.all(servers.map((_, i) => start(i)));
    const endpoint = endpoints[await leader()] ?? '';
    return { name: `tsswarm, ${count} members`, endpoint, endpoints, stop, leader, kill, start };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Only a leader answers a linearizable read. */
async function leads(endpoint: string): Promise<boolean> {
  const connection = await connected(endpoint, 1_000);
  try {
    await range(connection, 'anything', 1_000);
    await put(connection, { key: Buffer.from('leader'), value: Buffer.from('here') }, 1_000);
    return true;
  } finally {
    connection.close();
  }
}

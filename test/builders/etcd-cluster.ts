import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Status {
  readonly leader?: string;
  readonly header?: { readonly member_id?: string };
}

/** An etcd cluster of processes on loopback, whose members can be killed and started again with what they had. */
export class EtcdCluster {
  readonly endpoints: readonly string[];
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsswarm-etcd-'));
  readonly #peers: readonly string[];
  readonly #children: (ChildProcess | undefined)[] = [];

  private constructor(ports: readonly number[]) {
    const all = ports.map((port) => `127.0.0.1:${port}`);
    this.endpoints = all.slice(0, all.length / 2);
    this.#peers = all.slice(all.length / 2);
  }

  /** Resolves when it takes writes. */
  static async start(members: number): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(await freePorts(members * 2));
    for (let member = 0; member < members; member++) cluster.#spawn(member);
    try {
      await cluster.leader();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** The member that leads, once there is one. */
  async leader(): Promise<number> {
    for (const giveUp = Date.now() + 30_000; Date.now() < giveUp;) {
      for (const [member, endpoint] of this.endpoints.entries()) {
        if (this.#children[member] === undefined) continue;
        const { leader, header } = await post(endpoint, 'maintenance/status', {}).catch((): Status => ({}));
        if (leader !== undefined && leader !== '0' && leader === header?.member_id) return member;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('starting etcd: no member leads after 30 s');
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(member: number): Promise<void> {
    const child = this.#children[member];
    this.#children[member] = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Starts a killed member; resolves when it answers reads that need a majority. */
  async restart(member: number): Promise<void> {
    this.#spawn(member);
    const endpoint = this.endpoints[member] ?? '';
    for (const giveUp = Date.now() + 30_000; Date.now() < giveUp;) {
      const answer = await post(endpoint, 'kv/range', { key: 'YQ==' }).catch((): Status => ({}));
      if (answer.header !== undefined) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`starting member ${member} of etcd: it does not answer after 30 s`);
  }

  /** Lets a member hang: its connections stay open, and nothing answers. Ends by `resume` or `stop`. */
  pause(member: number): void {
    this.#children[member]?.kill('SIGSTOP');
  }

  resume(member: number): void {
    this.#children[member]?.kill('SIGCONT');
  }

  /** Forgets all events up to now, on all members. */
  async compact(): Promise<void> {
    const endpoint = this.endpoints[await this.leader()] ?? '';
    const { header } = (await post(endpoint, 'kv/range', { key: 'YQ==' })) as { header?: { revision?: string } };
    await post(endpoint, 'kv/compaction', { revision: header?.revision, physical: true });
  }

  async stop(): Promise<void> {
    await Promise.all(this.endpoints.map((_, member) => this.kill(member)));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #spawn(member: number): void {
    const client = `http://${this.endpoints[member] ?? ''}`;
    const peer = `http://${this.#peers[member] ?? ''}`;
    const cluster = this.#peers.map((address, i) => `m${i}=http://${address}`).join(',');
    this.#children[member] = spawn(
      'etcd',
      [
        ['--name', `m${member}`, '--data-dir', join(this.#dir, `m${member}`), '--log-level', 'error'],
        ['--listen-client-urls', client, '--advertise-client-urls', client, '--logger', 'zap'],
        ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
        ['--heartbeat-interval', '100', '--election-timeout', '1000'],
      ].flat(),
      { stdio: 'ignore' },
    );
  }
}

async function post(endpoint: string, path: string, body: object): Promise<Status> {
  const answer = await fetch(`http://${endpoint}/v3/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5_000),
  });
  if (!answer.ok) throw new Error(`etcd answered ${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as Status;
}

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

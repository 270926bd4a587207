import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from './free-ports.ts';

const run = promisify(execFile);

interface Status {
  readonly leader?: string;
  readonly header?: { readonly member_id?: string };
}

/** Where and how the members of a test's etcd listen. */
export interface EtcdPlace {
  /** Address of all members. */
  readonly host: string;
  /** Network namespace that they run in; absent: the test's own, on free ports. */
  readonly namespace?: string;
  /** Files of certificates: clients must show one of the same authority then. */
  readonly tls?: { readonly ca: string; readonly certificate: string; readonly key: string };
}

/** An etcd cluster of processes, whose members can be killed and started again with what they had. */
export class EtcdCluster {
  readonly endpoints: readonly string[];
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsswarm-etcd-'));
  readonly #peers: readonly string[];
  readonly #place: EtcdPlace;
  readonly #children: (ChildProcess | undefined)[] = [];

  private constructor(ports: readonly number[], place: EtcdPlace) {
    const all = ports.map((port) => `${place.host}:${port}`);
    this.endpoints = all.slice(0, all.length / 2);
    this.#peers = all.slice(all.length / 2);
    this.#place = place;
  }

  /** Resolves when it takes writes. */
  static async start(members: number, place: EtcdPlace = { host: '127.0.0.1' }): Promise<EtcdCluster> {
    const inOwnNamespace = Array.from({ length: members * 2 }, (_, i) => (i < members ? 2379 : 12380) + i * 10);
    const ports = place.namespace === undefined ? await freePorts(members * 2) : inOwnNamespace;
    const cluster = new EtcdCluster(ports, place);
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
        const { leader, header } = await this.#post(endpoint, 'maintenance/status', {}).catch((): Status => ({}));
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

  /** Starts a killed member, without waiting for it. */
  revive(member: number): void {
    if (this.#children[member] === undefined) this.#spawn(member);
  }

  /** Starts a killed member; resolves when it answers reads that need a majority. */
  async restart(member: number): Promise<void> {
    this.#spawn(member);
    const endpoint = this.endpoints[member] ?? '';
    for (const giveUp = Date.now() + 30_000; Date.now() < giveUp;) {
      const answer = await this.#post(endpoint, 'kv/range', { key: 'YQ==' }).catch((): Status => ({}));
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
    const { header } = (await this.#post(endpoint, 'kv/range', { key: 'YQ==' })) as {
      header?: { revision?: string };
    };
    await this.#post(endpoint, 'kv/compaction', { revision: header?.revision, physical: true });
  }

  /** Calls the JSON interface of a member that leads: to add users, for example. */
  async call(path: string, body: object): Promise<void> {
    await this.#post(this.endpoints[await this.leader()] ?? '', path, body);
  }

  async stop(): Promise<void> {
    await Promise.all(this.endpoints.map((_, member) => this.kill(member)));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #spawn(member: number): void {
    const { tls } = this.#place;
    const client = `${tls === undefined ? 'http' : 'https'}://${this.endpoints[member] ?? ''}`;
    const peer = `http://${this.#peers[member] ?? ''}`;
    const cluster = this.#peers.map((address, i) => `m${i}=http://${address}`).join(',');
    const argv = [
      ...[...this.#inNamespace(), 'etcd'],
      ...['--name', `m${member}`, '--data-dir', join(this.#dir, `m${member}`), '--log-level', 'error'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client, '--logger', 'zap'],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
      ...['--heartbeat-interval', '100', '--election-timeout', '1000'],
      ...(tls === undefined
        ? []
        : ['--cert-file', tls.certificate, '--key-file', tls.key, '--trusted-ca-file', tls.ca, '--client-cert-auth']),
    ];
    const [command = '', ...args] = argv;
    this.#children[member] = spawn(command, args, { stdio: 'ignore' });
  }

  #inNamespace(): readonly string[] {
    const { namespace } = this.#place;
    return namespace === undefined ? [] : ['nsenter', `--net=/var/run/netns/${namespace}`];
  }

  async #post(endpoint: string, path: string, body: object): Promise<Status> {
    const { tls } = this.#place;
    const credentials = tls === undefined ? [] : ['--cacert', tls.ca, '--cert', tls.certificate, '--key', tls.key];
    const url = `${tls === undefined ? 'http' : 'https'}://${endpoint}/v3/${path}`;
    const argv = [...this.#inNamespace(), 'curl', '-sS', '--fail-with-body', '-m', '5', ...credentials];
    const [command = '', ...args] = [...argv, '-d', JSON.stringify(body), url];
    return JSON.parse((await run(command, args)).stdout) as Status;
  }
}

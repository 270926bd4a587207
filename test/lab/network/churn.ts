import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { watchProject } from '../../../cli/tscompose/project/watch.ts';
import type { ProjectWatch } from '../../../cli/tscompose/project/watch.ts';
import { connectLocal } from '../../../proto/rpc/local/client.ts';
import { controlService } from '../../../proto/rpc/services.ts';
import type { Task } from '../../../proto/types/index.ts';
import { containerIdOf } from '../../../worker/agent/container-id.ts';
import type { Lab } from '../lab.ts';
import { buildEndpointImage } from './endpoint-image.ts';
import { Bearers } from './bearers.ts';
import type { Report } from './hammer.ts';

const PROJECT = 'churn';
const HAMMER = join(import.meta.dirname, 'hammer.ts');
/** Longest that a phase may take to come to its end. */
const PATIENCE_MS = 600_000;
const LOOK_EVERY_MS = 20;
/** How long what has begun goes on after a phase, before its requests are counted. */
const SETTLE_MS = 1500;
/** Of a command that an election got into. */
const MOST_ATTEMPTS = 5;

/** Shape of the run. */
export interface ChurnOptions {
  /** Requests that each node has under way. */
  readonly workers: number;
  /** Between two requests of one of them, ms. */
  readonly restMs: number;
  /**
   * Ports that the requests of one node come from. Few: each comes again while the kernel still knows the flow of the last datagram from it,
   * as with a client that asks thousands of times a second.
   */
  readonly ports: number;
  /** Containers that are replaced at the same time in an update. */
  readonly parallelism: number;
}

/** What became of the requests of one phase. */
export interface Outcome {
  readonly phase: string;
  readonly ms: number;
  readonly answered: number;
  /** Of those that were not answered, how many had no excuse. */
  readonly lost: readonly string[];
  /** Not answered, while somebody was dead and that was not known for a second yet. */
  readonly excused: number;
  /** Addresses that were given to somebody who asked too late for them. */
  readonly stale: readonly string[];
  readonly slowestMs: number;
  /** Endpoints that have come and gone. */
  readonly came: number;
  readonly went: number;
  /** From the first word that endpoints are dead until the last failure of one who asked after it, ms; 0: none. */
  readonly failedForMs: number;
  /** Longest that a daemon was ready to run and waited for a processor, ms: what is late then is the machine's, not the daemon's, fault. */
  readonly waitedMs: number;
  /** Endpoints whose node was taken for down although it was not: it was not heard of in time. */
  readonly mistaken: number;
}

/**
 * A service whose endpoints join and leave on all nodes of a lab, while a container on each node asks for it without rest. It judges:
 * nobody is led to an endpoint that is stopped as planned, and nobody to a dead one later than `graceMs` after it was reported.
 */
export class Churn {
  readonly #lab: Lab;
  readonly #options: ChurnOptions;
  readonly #folder: string;
  readonly #connection: ReturnType<typeof connectLocal>;
  readonly #names = new Map<string, string>();
  readonly #bearers = new Bearers((nodeId) => this.#names.get(nodeId) ?? 'a node without a name');
  #watch: ProjectWatch | undefined;
  #looking: NodeJS.Timeout | undefined;
  #isAnyDown = false;
  #mistaken = 0;
  #version = 1;
  #replicas = 0;

  private constructor(lab: Lab, options: ChurnOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#folder = join(lab.machine(0).dir, PROJECT);
    this.#connection = connectLocal(lab.machine(0).socket);
  }

  /** Loads the image on all machines and brings the service up. The lab's cluster is formed. */
  static async start(lab: Lab, replicas: number, options: ChurnOptions): Promise<Churn> {
    const churn = new Churn(lab, options);
    const archive = join(lab.machine(0).dir, 'endpoint.tar');
    await buildEndpointImage('endpoint', archive);
    for (const machine of lab.machines) machine.ok('tsswarm', 'image', 'load', '-i', archive);
    churn.#watch = await watchProject(churn.#control, PROJECT);
    churn.#watch.onChange(() => churn.#bearers.look(churn.#tasks(), now()));
    churn.#looking = setInterval(() => void churn.#lookAtNodes(), LOOK_EVERY_MS);
    await churn.scale(replicas);
    return churn;
  }

  async stop(): Promise<void> {
    clearInterval(this.#looking);
    this.#watch?.close();
    await this.#compose('down', '-t', '0');
    this.#connection.close();
  }

  /** Endpoints that run. */
  get running(): readonly Task[] {
    return this.#tasks().filter(isRunning);
  }

  scale(replicas: number): Promise<void> {
    this.#replicas = replicas;
    return this.#up();
  }

  /** Replaces all containers. */
  update(): Promise<void> {
    this.#version++;
    return this.#up();
  }

  /** Kills endpoints and waits until there are as many again. */
  async kill(count: number): Promise<void> {
    const dying = this.running.slice(0, count);
    // Said before it is true: who asks the first one fails while the last one still lives.
    this.#bearers.died(
      dying.map(({ id }) => id),
      now(),
    );
    for (const { status } of dying) process.kill(status.pid, 'SIGKILL');
    await this.#until(
      () => dying.every(({ id }) => !this.running.some((task) => task.id === id)),
      'the dead to be noticed',
    );
    await this.#whole();
  }

  /** Switches a machine off and waits until its endpoints run elsewhere. */
  async powerOff(index: number): Promise<void> {
    const { nodes } = await this.#control.listNodes({});
    const node = nodes.find(({ description }) => description.hostname === `m${index}`);
    const dying = this.running.filter(({ nodeId }) => nodeId === node?.id).map(({ id }) => id);
    this.#bearers.died(dying, now());
    await this.#lab.powerOff(index);
    await this.#until(() => this.#bearers.areGone(dying), 'the node to be down');
    await this.#whole();
  }

  /** Waits until a container asks from every machine again. */
  async rejoined(): Promise<void> {
    const count = this.#lab.machines.length;
    // The managers may take those from before it was switched off for running still.
    const clients = (): readonly Task[] =>
      this.#tasks('client').filter((task) => isRunning(task) && existsSync(`/proc/${task.status.pid}`));
    await this.#until(() => !this.#isAnyDown && clients().length === count, `${count} containers that ask`);
  }

  /**
   * Does something while every node but `besides` asks for the service.
   * @param graceMs for how long after they were reported dead endpoints may be asked; 0: nobody may fail at all
   */
  async phase(
    name: string,
    graceMs: number,
    work: () => Promise<void>,
    besides: readonly number[] = [],
  ): Promise<Outcome> {
    const began = now();
    const waited = this.#lab.machines.map((machine) => waitedMs(machine.daemonPid()));
    const mistaken = this.#mistaken;
    const clients = this.#tasks('client').filter(isRunning);
    const hammers = await Promise.all(
      this.#lab.machines.flatMap((machine, index) => {
        if (besides.includes(index)) return [];
        const folder = join(machine.dir, 'run', 'engine', 'netns');
        const mine = clients.filter(({ id }) => this.#machineOf(id) === index);
        return mine.map(({ id }) => startHammer(join(folder, containerIdOf(id)), this.#options));
      }),
    );
    if (hammers.length === 0) throw new Error('nobody asks');
    try {
      await work();
      const ms = now() - began;
      await new Promise((resolve) => setTimeout(resolve, graceMs + SETTLE_MS));
      const reports = await Promise.all(hammers.map((hammer) => hammer.end()));
      const waits = this.#lab.machines.map((machine, i) => waitedMs(machine.daemonPid()) - (waited[i] ?? 0));
      return {
        phase: name,
        ms,
        ...this.#bearers.judge(reports, began, graceMs),
        waitedMs: Math.max(...waits),
        mistaken: this.#mistaken - mistaken,
      };
    } finally {
      for (const { child } of hammers) child.kill('SIGKILL');
    }
  }

  get #control() {
    return this.#connection.service(controlService);
  }

  #machineOf(id: string): number {
    const task = this.#watch?.view.tasks.get(id);
    return Number(this.#names.get(task?.nodeId ?? '')?.slice(1) ?? -1);
  }

  #tasks(service = 'web'): readonly Task[] {
    const view = this.#watch?.view;
    if (view === undefined) return [];
    const id = [...view.services.values()].find(({ spec }) => spec.composeName === service)?.id;
    return [...view.tasks.values()].filter(({ serviceId }) => serviceId === id);
  }

  /** What the node is taken for is no matter of the project's. */
  async #lookAtNodes(): Promise<void> {
    try {
      const { nodes } = await this.#control.listNodes({});
      for (const { id, description } of nodes) this.#names.set(id, description.hostname);
      const down = new Set<string>(nodes.filter(({ status }) => status.state === 'down').map(({ id }) => id));
      this.#isAnyDown = down.size > 0;
      const [away = [], there = []] = [true, false].map((is) =>
        this.#tasks().filter(({ nodeId }) => down.has(nodeId) === is),
      );
      this.#bearers.gone(away, now());
      this.#mistaken += this.#bearers.back(there);
    } catch {
      // An election, or the end of the run.
    }
  }

  #whole(): Promise<void> {
    const running = (): readonly Task[] => this.running.filter(({ id }) => !this.#bearers.areGone([id]));
    return this.#until(() => running().length >= this.#replicas, `${this.#replicas} endpoints`);
  }

  async #until(isTrue: () => boolean, what: string): Promise<void> {
    const deadline = now() + PATIENCE_MS;
    while (!isTrue()) {
      if (now() > deadline) throw new Error(`waiting for ${what}: not within ${PATIENCE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }

  async #up(): Promise<void> {
    const { parallelism } = this.#options;
    this.#lab.machine(0).project(PROJECT, {
      'compose.yaml': `services:
  web:
    image: endpoint
    environment: { VERSION: "${this.#version}" }
    stop_grace_period: 10s
    deploy:
      replicas: ${this.#replicas}
      update_config: { parallelism: ${parallelism}, monitor: 0s }
      restart_policy: { delay: 0s }
  client:
    image: endpoint
    stop_grace_period: 0s
    deploy: { mode: global, restart_policy: { delay: 0s } }
networks:
  default: { ipam: { config: [{ subnet: 10.96.0.0/21, ip_range: 10.96.0.0/22 }] } }
`,
    });
    await this.#compose('up', '-d', '--wait');
    await this.#whole();
  }

  /** Whoever asked a manager that lost the leadership meanwhile asks again: it may have been done, or not. */
  async #compose(...argv: readonly string[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#composeOnce(...argv);
      } catch (error) {
        if (attempt === MOST_ATTEMPTS || !/leadership|does not lead|leader/.test(String(error))) throw error;
      }
    }
  }

  async #composeOnce(...argv: readonly string[]): Promise<void> {
    const child = this.#lab.machine(0).start('tscompose', '-f', join(this.#folder, 'compose.yaml'), ...argv);
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (said += String(part)));
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`tscompose ${argv.join(' ')} ended with ${code}\n${said.slice(-2000)}`);
  }
}

const isRunning = ({ status, desiredState }: Task): boolean => status.state === 'running' && desiredState === 'running';

interface Hammer {
  readonly child: ChildProcess;
  end(): Promise<Report>;
}

async function startHammer(netns: string, { workers, restMs, ports }: ChurnOptions): Promise<Hammer> {
  const argv = [`--net=${netns}`, process.execPath, HAMMER, 'web', ...[workers, restMs, ports].map(String)];
  const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  const started = Promise.withResolvers<void>();
  child.stdout.on('data', (part: Buffer) => {
    text += String(part);
    started.resolve();
  });
  const ended = once(child, 'close');
  await Promise.race([started.promise, ended]);
  return {
    child,
    async end() {
      child.stdin.end();
      await ended;
      const [, report] = text.split('\n');
      if (report === undefined) throw new Error(`a client ended without a word: ${text}`);
      return JSON.parse(report) as Report;
    },
  };
}

/** How long the main thread of a process has waited for a processor (sched-stats.rst). */
function waitedMs(pid: number | undefined): number {
  if (pid === undefined) return 0;
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

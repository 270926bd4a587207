import assert from 'node:assert/strict';
import type { ContainerId, NetworkId, NodeId, ServiceId, TaskId } from '../../base/ids.ts';
import { TsswarmError } from '../../base/errors.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { ContainerInfo, Engine, ExitStatus } from '../../node-engine/types.ts';
import type { AssignmentChange, Mount, NetworkEndpoint, Task, TaskStatus } from '../../proto/types/index.ts';
import { containerSpec, imageConfig } from '../../test/builders/container-spec.ts';
import { network, node, service, task } from '../../test/builders/objects.ts';
import { taskSpec } from '../../test/builders/specs.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { Records } from '../overlay/dns/records.ts';
import { NO_ASSIGNMENTS, NO_REMOVALS, toSet } from './assignments.ts';
import { containerIdOf } from './container-id.ts';
import { startAgent } from './loop.ts';
import type { AgentOptions } from './loop.ts';
import { TASK_ID_LABEL } from './task/container-request.ts';

const LEASE_MS = 4_000;
const NFS: Mount = {
  type: 'volume',
  source: 'app_shared',
  target: '/data',
  readOnly: false,
  noCopy: false,
  subpath: '',
  driver: 'local',
  driverOptions: { type: 'nfs', o: 'addr=192.0.2.1', device: ':/shared' },
  labels: {},
};

/** A machine on which containers are made and started at once, with a clock that is wrong by `skewMs`. */
class Machine {
  readonly clock = new VirtualClock();
  readonly infos = new Map<ContainerId, ContainerInfo>();
  readonly bridges = new Set<NetworkId>();
  readonly starts: string[] = [];
  readonly reports: { readonly taskId: TaskId; readonly status: TaskStatus }[] = [];
  readonly #ends = new Map<ContainerId, PromiseWithResolvers<ExitStatus>>();
  /** Managers answer. */
  reachable = true;
  /** What this node says reaches them. */
  heard = true;
  #change: AssignmentChange | undefined;
  #more = Promise.withResolvers<AssignmentChange>();
  /** What containers here are answered. */
  readonly names = new Records();
  /** Virtual addresses are being brought into the kernel until then. */
  settled: Promise<boolean> = Promise.resolve(true);
  /** What happens to a container just before it is changed. */
  beforeChange: (id: ContainerId) => void = () => undefined;
  /** Containers end when they are told to, and then. */
  stopping = Promise.resolve();
  readonly skewMs: number;

  constructor(skewMs = 0) {
    this.skewMs = skewMs;
  }

  now(): number {
    return this.clock.now() + this.skewMs;
  }

  start(assigned: readonly Task[]) {
    const { clock } = this;
    this.#change = {
      kind: 'complete',
      sequence: 0,
      update: { ...toSet(NO_ASSIGNMENTS), tasks: assigned },
      remove: NO_REMOVALS,
    };
    const heard = (): void => {
      if (!this.reachable) throw new Error('nobody answers');
    };
    const until = (signal?: AbortSignal): Promise<void> =>
      new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true }));
    const change = this.#change;
    const next = (): Promise<AssignmentChange> => this.#more.promise;
    const dispatcher: AgentOptions['dispatcher'] = {
      async *session(_, signal) {
        heard();
        yield { sessionId: 's', heartbeatMs: 1000, managers: [], leaseMs: LEASE_MS };
        await until(signal);
      },
      async *assignments(_, signal) {
        heard();
        yield change;
        const end = until(signal);
        while (signal?.aborted !== true) {
          const more = await Promise.race([end, next()]);
          if (more !== undefined) yield more;
        }
      },
      heartbeat: async () => {
        heard();
        return { heartbeatMs: 1000, leaseMs: LEASE_MS };
      },
      acknowledge: () => Promise.resolve({}),
      updateTaskStatus: async ({ updates }) => {
        heard();
        if (!this.heard) throw new Error('it got lost');
        this.reports.push(...updates);
        return {};
      },
    };
    return startAgent({
      nodeId: 'one' as NodeId,
      describe: () => node('one').description,
      dispatcher,
      engine: this.#engine(),
      resolver: {
        changeNames: (change) => this.names.change(change),
        attach: () => Promise.resolve(),
        detach: () => Promise.resolve(),
      },
      balancer: {
        setAddresses: () => undefined,
        settled: () => this.settled,
        attach: () => Promise.resolve(),
        detach: () => undefined,
      },
      netnsPath: (id) => id,
      disk: { load: () => undefined, save: () => undefined },
      clock: {
        now: () => this.now(),
        monotonic: () => clock.monotonic(),
        startTimer: (ms, fire) => clock.startTimer(ms, fire),
      },
      random: seededRandom(1),
      logger: silentLogger,
    });
  }

  /** A manager tells what has changed. */
  async tell(
    change: Pick<AssignmentChange, 'sequence'> & { readonly [K in 'update' | 'remove']?: Partial<AssignmentChange[K]> },
  ) {
    const { sequence, update = {}, remove = {} } = change;
    const more = this.#more;
    this.#more = Promise.withResolvers();
    more.resolve({
      kind: 'incremental',
      sequence,
      update: { ...toSet(NO_ASSIGNMENTS), ...update },
      remove: { ...NO_REMOVALS, ...remove },
    });
    await settle();
  }

  /** The container of a task has been running since an earlier life. */
  runs(taskId: string): ContainerId {
    const id = containerIdOf(taskId);
    const labels = { [TASK_ID_LABEL]: taskId };
    this.#ends.set(id, Promise.withResolvers());
    this.infos.set(id, { id, name: taskId, labels, imageId: '', image: '', state: 'running', pid: 1, createdAt: 0, startedAt: 0, finishedAt: 0, exit: undefined, argv: [], healthCheck: undefined, stopSignal: '', tty: false }); // prettier-ignore
    return id;
  }

  /** The container's process ends by itself. */
  end(id: ContainerId, code: number): void {
    const info = this.infos.get(id);
    assert.ok(info?.state === 'running');
    const exit = { code, oomKilled: false, at: this.now() };
    this.infos.set(id, { ...info, state: 'exited', finishedAt: exit.at, exit });
    this.#ends.get(id)?.resolve(exit);
  }

  #engine(): Engine {
    const info = (id: ContainerId): ContainerInfo => {
      const found = this.infos.get(id);
      assert.ok(found);
      return found;
    };
    const image = { id: 'sha256:1', names: [], digest: '', createdAt: 0, sizeBytes: 0, architecture: '', config: imageConfig(), layers: [] }; // prettier-ignore
    const engine: Pick<Engine, 'volumes'> & {
      readonly containers: Partial<Engine['containers']>;
      readonly images: Partial<Engine['images']>;
      readonly networks: Partial<Engine['networks']>;
    } = {
      containers: {
        create: ({ id, name, labels, sandbox }) => {
          if (!sandbox.interfaces.every(({ networkId }) => this.bridges.has(networkId)))
            return Promise.reject(new TsswarmError('NETWORK_FAILED', 'its bridge is not on this node'));
          const made = { id, name, labels, imageId: '', image: '', state: 'created', pid: 0, createdAt: 0, startedAt: 0, finishedAt: 0, exit: undefined, argv: [], healthCheck: undefined, stopSignal: '', tty: false } as const; // prettier-ignore
          this.infos.set(id, made);
          return Promise.resolve(made);
        },
        start: (id) => {
          this.starts.push(info(id).name);
          this.#ends.set(id, Promise.withResolvers());
          this.infos.set(id, { ...info(id), state: 'running', pid: 1, startedAt: this.now() });
          return Promise.resolve(info(id));
        },
        stop: async (id) => {
          await this.stopping;
          this.end(id, 143);
          return { code: 143, oomKilled: false, at: this.now() };
        },
        remove: (id) => Promise.resolve(void this.infos.delete(id)),
        update: ({ id, specVersion = 0 }) => {
          this.beforeChange(id);
          this.infos.set(id, { ...info(id), specVersion });
          return Promise.resolve(['limits']);
        },
        wait: (id) => this.#ends.get(id)?.promise ?? Promise.reject(new Error('it does not run')),
        inspect: (id) => this.infos.get(id),
        list: () => [...this.infos.values()],
        leaveNetworks: () => Promise.resolve(),
      },
      images: { find: () => image, list: () => [image] },
      networks: {
        ensureBridge: ({ id }) => Promise.resolve(void this.bridges.add(id)),
        removeBridge: (id) => Promise.resolve(void this.bridges.delete(id)),
        listBridges: () => Promise.resolve([...this.bridges]),
        setPorts: () => Promise.resolve([]),
      },
      volumes: {} as Engine['volumes'],
    };
    return engine as unknown as Engine;
  }
}

const LOCAL: Mount = { ...NFS, source: 'app_data', driverOptions: {} };

/** A task that is given to the node, to be started `waitMs` after it was made. */
function assigned(spec: Parameters<typeof taskSpec>[0], waitMs = 0): Task {
  const of = service('web', {}, { task: taskSpec({ networks: [], ...spec }) });
  const fresh = { state: 'assigned', containerId: '', message: '' } as const;
  const made = task(of, 1, fresh, { nodeId: 'one' as NodeId });
  return { ...made, notBefore: waitMs === 0 ? 0 : made.meta.createdAt + waitMs };
}

describe('an agent', () => {
  it('starts nothing that is fenced when its lease has run out, and does when it hears of a manager again', async () => {
    const machine = new Machine();
    const { clock } = machine;
    const fenced = assigned({ container: containerSpec({ mounts: [NFS] }) }, 10_000);
    const agent = machine.start([fenced]);
    await clock.advance(2_000);
    assert.deepEqual([...machine.infos.values()].map(({ state }) => state), ['created']); // prettier-ignore
    machine.reachable = false;
    await clock.advance(20_000);
    assert.deepEqual(machine.starts, [], 'another node may run it');
    machine.reachable = true;
    await clock.advance(5_000);
    assert.equal(machine.starts.length, 1);
    await agent.close();
  });

  it('starts nothing before what an earlier life has left is gone', async () => {
    const machine = new Machine();
    const held = Promise.withResolvers<void>();
    machine.stopping = held.promise;
    const left = machine.runs('given-up');
    const fenced = (slot: number): Task => {
      const made = assigned({ container: containerSpec({ mounts: [NFS] }) });
      return { ...made, id: `web-${slot}` as TaskId, slot };
    };
    const agent = machine.start([fenced(1)]);
    await machine.clock.advance(1_000);
    await machine.tell({ sequence: 1, update: { tasks: [fenced(2)] } });
    await machine.clock.advance(1_000);
    assert.deepEqual([machine.starts, [...machine.infos.keys()]], [[], [left]]);
    held.resolve();
    await settle();
    await machine.clock.advance(1_000);
    assert.deepEqual([machine.starts.length, machine.infos.has(left)], [2, false]);
    await agent.close();
  });

  it('removes what is not wanted any more while it waits for what an earlier life has left', async () => {
    const machine = new Machine();
    const held = Promise.withResolvers<void>();
    machine.stopping = held.promise;
    const left = machine.runs('given-up');
    const replaced = { ...assigned({}), desiredState: 'shutdown' } as const;
    const own = machine.runs(replaced.id);
    const agent = machine.start([replaced]);
    await machine.clock.advance(1_000);
    await machine.tell({ sequence: 1, remove: { tasks: [replaced.id] } });
    assert.deepEqual([...machine.infos.keys()], [left, own]);
    held.resolve();
    await settle();
    await machine.clock.advance(1_000);
    assert.deepEqual([...machine.infos.keys()], []);
    await agent.close();
  });

  it('names what the last message says, also when an earlier one was held up by virtual addresses', async () => {
    const machine = new Machine();
    const agent = machine.start([]);
    await machine.clock.advance(100);
    const networkId = 'net' as NetworkId;
    const endpoint = (name: string, n: number): NetworkEndpoint => ({
      taskId: name as TaskId,
      serviceId: 'web' as ServiceId,
      nodeId: 'two' as NodeId,
      networkId,
      name,
      aliases: ['web'],
      ipv4: `10.1.0.${n}`,
    });
    const service = { serviceId: 'web' as ServiceId, networkId, names: ['web'], ipv4: '10.1.0.254' };
    const named = (name: string): readonly string[] =>
      (machine.names.find([{ id: networkId, name: 'net' }], name)?.addresses().ipv4 ?? []).map((bytes) =>
        bytes.join('.'),
      );
    const held = Promise.withResolvers<boolean>();
    machine.settled = held.promise;
    const [gone, stays, renewed] = [endpoint('gone', 2), endpoint('stays', 3), endpoint('renewed', 4)];
    await machine.tell({ sequence: 1, update: { services: [service], endpoints: [gone, stays, renewed] } });
    assert.deepEqual(named('web'), [], 'the virtual address leads nowhere yet');
    const changed = { ...renewed, ipv4: '10.1.0.5' };
    await machine.tell({ sequence: 2, update: { endpoints: [changed] }, remove: { endpoints: ['gone/net'] } });
    assert.deepEqual(named('tasks.web'), ['10.1.0.5']);
    held.resolve(true);
    await settle();
    assert.deepEqual(named('web'), ['10.1.0.254']);
    assert.deepEqual(named('tasks.web').toSorted(), ['10.1.0.3', '10.1.0.5'], 'what went meanwhile does not come back');
    const again = Promise.withResolvers<boolean>();
    machine.settled = again.promise;
    const update = { services: [{ ...service, names: ['web', 'www'] }] };
    await machine.tell({ sequence: 3, update, remove: { endpoints: ['stays/net'] } });
    assert.deepEqual(named('tasks.web'), ['10.1.0.5'], 'what goes waits for nothing');
    await machine.tell({ sequence: 4, update: { endpoints: [stays] } });
    again.resolve(true);
    await settle();
    assert.deepEqual(named('tasks.www'), [], 'no endpoint bears the other name');
    assert.deepEqual(named('www'), ['10.1.0.254']);
    assert.deepEqual(named('tasks.web').toSorted(), ['10.1.0.3', '10.1.0.5'], 'what came meanwhile stays');
    await agent.close();
  });

  it('starts what is not fenced without a manager', async () => {
    const machine = new Machine();
    const agent = machine.start([assigned({}, 10_000)]);
    await machine.clock.advance(2_000);
    machine.reachable = false;
    await machine.clock.advance(20_000);
    assert.equal(machine.starts.length, 1);
    machine.reachable = true;
    await agent.close();
  });

  it('does not say that it has changed a container that has ended meanwhile', async () => {
    for (const ends of [false, true]) {
      const machine = new Machine();
      const first = assigned({});
      const agent = machine.start([first]);
      await machine.clock.advance(2_000);
      assert.equal(machine.starts.length, 1);
      if (ends) machine.beforeChange = (id) => machine.end(id, 137);
      await machine.tell({ sequence: 1, update: { tasks: [{ ...first, specVersion: 2 }] } });
      await machine.clock.advance(2_000);
      const last = machine.reports.at(-1)?.status;
      assert.deepEqual([last?.state, last?.applied?.specVersion], ends ? ['failed', 1] : ['running', 2]);
      await agent.close();
    }
  });

  describe('given a task whose data stays on the node', () => {
    const withData = (waitMs = 0, change: Partial<Task> = {}): Task => ({
      ...assigned({ container: containerSpec({ mounts: [LOCAL] }) }, waitMs),
      ...change,
    });

    it('lets it write nothing before the managers know where the data is', async () => {
      const machine = new Machine();
      machine.heard = false;
      const agent = machine.start([withData()]);
      await machine.clock.advance(3_000);
      assert.deepEqual([...machine.infos.values()].map(({ state }) => state), ['created']); // prettier-ignore
      machine.heard = true;
      await machine.clock.advance(5_000);
      assert.equal(machine.starts.length, 1);
      await agent.close();
    });

    it('does not take for known what they may have been told too late', async () => {
      const machine = new Machine();
      machine.heard = false;
      const agent = machine.start([withData()]);
      await machine.clock.advance(2_000);
      machine.reachable = false;
      await machine.clock.advance(20_000);
      assert.deepEqual(machine.starts, [], 'its lease is over');
      [machine.reachable, machine.heard] = [true, true];
      await machine.clock.advance(5_000);
      assert.equal(machine.starts.length, 1);
      await agent.close();
    });

    it('starts it without a manager when they know', async () => {
      const machine = new Machine();
      const agent = machine.start([withData(10_000)]);
      await machine.clock.advance(2_000);
      machine.reachable = false;
      await machine.clock.advance(20_000);
      assert.equal(machine.starts.length, 1);
      machine.reachable = true;
      await agent.close();
    });

    it('starts it at once where they have said so themselves, or the node is its own', async () => {
      const { status } = withData();
      for (const change of [
        { status: { ...status, containerId: 'c' as ContainerId } },
        { boundNode: 'one' as NodeId },
      ]) {
        const machine = new Machine();
        machine.heard = false;
        const agent = machine.start([withData(0, change)]);
        await machine.clock.advance(1_000);
        assert.equal(machine.starts.length, 1);
        machine.heard = true;
        await agent.close();
      }
    });
  });

  it('makes a bridge anew that somebody took away, for the next container on it', async () => {
    const machine = new Machine();
    const agent = machine.start([]);
    await machine.clock.advance(100);
    const lan = network('lan');
    const on = (slot: number): Task => {
      const { id, spec } = lan;
      const made = assigned({ networks: [{ network: spec.name, aliases: [], ipv4Address: '' }] });
      const address = { networkId: id, ipv4: `10.128.0.${slot + 1}` };
      return { ...made, id: `web-${slot}` as TaskId, slot, addresses: [address] };
    };
    await machine.tell({ sequence: 1, update: { networks: [lan], tasks: [on(1)] } });
    await machine.clock.advance(2_000);
    assert.equal(machine.starts.length, 1);
    machine.bridges.clear();
    await machine.tell({ sequence: 2, update: { tasks: [on(2)] } });
    await machine.clock.advance(2_000);
    assert.equal(machine.starts.length, 2);
    assert.deepEqual([...machine.bridges], [lan.id]);
    await agent.close();
  });

  for (const skewMs of [0, -3600_000, 3600_000]) {
    it(`says how long it had a task and how long that ran, its clock wrong by ${skewMs} ms`, async () => {
      const machine = new Machine(skewMs);
      const agent = machine.start([assigned({}, 3_000)]);
      await machine.clock.advance(5_000);
      const [id] = machine.infos.keys();
      machine.end(id ?? assert.fail(), 3);
      await settle();
      await machine.clock.advance(100);
      const { state, ranMs = 0, ageMs = 0 } = machine.reports.at(-1)?.status ?? assert.fail();
      assert.equal(state, 'failed');
      assert.ok(ageMs >= 4_900 && ageMs <= 5_000, String(ageMs));
      assert.ok(ranMs >= 1_900 && ranMs <= 2_000, String(ranMs));
      await agent.close();
    });
  }
});

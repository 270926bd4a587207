import assert from 'node:assert/strict';
import { seededRandom } from '../../base/random.ts';
import type { Random } from '../../base/random.ts';
import type { Node, Service, Task } from '../../proto/types/index.ts';
import { node, service as newService, task as newTask } from '../../test/builders/objects.ts';
import { taskSpec } from '../../test/builders/specs.ts';
import { Scheduler } from './schedule.ts';

const GB = 2 ** 30;
const ROUNDS = 40;

interface World {
  nodes: Node[];
  services: Service[];
  tasks: Task[];
}

const pick = <T>(random: Random, values: readonly T[]): T => {
  const value = values[Math.floor(random.next() * values.length)];
  assert.ok(value !== undefined);
  return value;
};

function randomNode(random: Random, id: string): Node {
  const labels = {
    ...(random.next() < 0.8 ? { zone: pick(random, ['a', 'b', 'c']) } : {}),
    ...(random.next() < 0.5 ? { disk: 'ssd' } : {}),
  };
  const resources = { nanoCpus: pick(random, [1, 2, 8]) * 1e9, memoryBytes: pick(random, [2, 4, 16]) * GB };
  const availability = pick(random, ['active', 'active', 'active', 'pause', 'drain'] as const);
  const state = pick(random, ['ready', 'ready', 'ready', 'down'] as const);
  return node(id, labels, { spec: { availability, labels }, description: { resources }, status: { state } });
}

function randomService(random: Random, name: string): Service {
  return newService(
    name,
    {},
    {
      task: taskSpec({
        networks: [],
        constraints: random.next() < 0.4 ? [pick(random, ['node.labels.disk==ssd', 'node.labels.zone!=a'])] : [],
        reservations:
          random.next() < 0.5
            ? { nanoCpus: pick(random, [0.1, 0.5, 2]) * 1e9, memoryBytes: pick(random, [0.25, 1]) * GB }
            : {},
        placement: {
          spread: random.next() < 0.5 ? ['node.labels.zone'] : [],
          maxReplicasPerNode: pick(random, [0, 0, 1, 3]),
        },
      }),
    },
  );
}

/** Everything that must be true of a state, however it came about. */
function check({ nodes, services, tasks }: World, fresh: ReadonlySet<string>): void {
  for (const { id, description, spec, status } of nodes) {
    const here = tasks.filter((task) => task.nodeId === id && task.status.state === 'assigned');
    const sum = (what: 'nanoCpus' | 'memoryBytes'): number =>
      here.reduce((total, task) => total + (task.spec.reservations[what] ?? 0), 0);
    assert.ok(sum('nanoCpus') <= description.resources.nanoCpus, `${id}: CPUs`);
    assert.ok(sum('memoryBytes') <= description.resources.memoryBytes, `${id}: memory`);
    for (const service of services) {
      const most = service.spec.task.placement?.maxReplicasPerNode ?? 0;
      const replicas = here.filter(({ serviceId }) => serviceId === service.id).length;
      assert.ok(most === 0 || replicas <= most, `${id}: ${replicas} of ${most} replicas`);
    }
    const ports = here.flatMap((task) => task.ports.map(({ published }) => published));
    assert.equal(new Set(ports).size, ports.length, `${id}: ports`);
    for (const task of here) {
      if (!fresh.has(task.id)) continue;
      assert.deepEqual([spec.availability, status.state], ['active', 'ready'], `${id}: takes tasks`);
      if (task.spec.constraints.includes('node.labels.disk==ssd')) assert.equal(spec.labels['disk'], 'ssd');
      if (task.spec.constraints.includes('node.labels.zone!=a')) assert.notEqual(spec.labels['zone'], 'a');
    }
  }
}

/** Of what a service has on the values of its label, or on nodes without one, no two differ by more than one. */
function spreadOf(nodes: readonly Node[], tasks: readonly Task[], keyOf: (node: Node) => string): number {
  const counts = new Map<string, number>(nodes.map((node) => [keyOf(node), 0]));
  for (const task of tasks) {
    const found = nodes.find(({ id }) => id === task.nodeId);
    if (found !== undefined) counts.set(keyOf(found), (counts.get(keyOf(found)) ?? 0) + 1);
  }
  const all = [...counts.values()];
  return Math.max(...all) - Math.min(...all);
}

function decide(scheduler: Scheduler, world: World, limit?: number): ReadonlySet<string> {
  const { tasks } = scheduler.decide(
    {
      nodes: world.nodes,
      tasks: world.tasks,
      service: (id) => world.services.find((service) => service.id === id),
      volume: () => undefined,
      driverOf: () => undefined,
      sharersOf: () => [],
      servicePorts: () => [],
      tasksOf: (id) => world.tasks.filter(({ serviceId }) => serviceId === id),
    },
    1,
    limit,
  );
  const changed = new Map(tasks.map((task) => [task.id, task]));
  world.tasks = world.tasks.map((task) => changed.get(task.id) ?? task);
  return new Set(tasks.filter(({ nodeId }) => nodeId !== '').map(({ id }) => id));
}

describe('Scheduler, of any cluster', () => {
  for (let seed = 1; seed <= 25; seed++) {
    it(`breaks no rule through ${ROUNDS} rounds of coming and going, seed ${seed}`, () => {
      const random = seededRandom(seed);
      const scheduler = new Scheduler();
      const world: World = { nodes: [], services: [], tasks: [] };
      for (let i = 0; i < 8; i++) world.nodes.push(randomNode(random, `n${i}`));
      for (let i = 0; i < 5; i++) world.services.push(randomService(random, `s${i}`));
      for (let round = 0; round < ROUNDS; round++) {
        for (let i = 0; i < random.next() * 8; i++) {
          const of = pick(random, world.services);
          const change = { id: `t${round}-${i}` as Task['id'], nodeId: '' as const };
          const port = { target: 80, published: 8000 + Math.floor(random.next() * 3), hostIp: '' };
          const ports = random.next() < 0.1 ? [{ ...port, protocol: 'tcp' as const, mode: 'host' as const }] : [];
          world.tasks.push(newTask(of, i, { state: 'pending' }, { ...change, ports }));
        }
        world.tasks = world.tasks
          .filter((task) => task.status.state !== 'failed' || random.next() < 0.5)
          .map((task) =>
            random.next() < 0.1 && task.nodeId !== ''
              ? { ...task, status: { ...task.status, state: 'failed' as const } }
              : task,
          );
        if (random.next() < 0.3) {
          const { id } = pick(random, world.nodes);
          const again = randomNode(random, id);
          const before = world.nodes.find((node) => node.id === id);
          // Its size stays: what runs there was promised it.
          const description = before?.description ?? again.description;
          world.nodes = world.nodes.map((node) => (node.id === id ? { ...again, description } : node));
        }
        if (random.next() < 0.2) decide(scheduler, { ...world });
        check(world, decide(scheduler, world, random.next() < 0.3 ? 2 : undefined));
      }
      // One that begins with the same state knows no better.
      const placed = decide(scheduler, world);
      assert.ok(placed.size >= 0);
      assert.equal(decide(new Scheduler(), world).size, 0);
    });

    it(`differs by at most one where there is room, seed ${seed}`, () => {
      const random = seededRandom(seed);
      const nodes = Array.from({ length: 3 + Math.floor(random.next() * 20) }, (_, i) =>
        node(`n${i}`, random.next() < 0.9 ? { zone: pick(random, ['a', 'b', 'c']) } : {}),
      );
      const zoned = newService(
        'zoned',
        {},
        {
          task: taskSpec({ networks: [], placement: { spread: ['node.labels.zone'], maxReplicasPerNode: 0 } }),
        },
      );
      const plain = newService('plain', {}, { task: taskSpec({ networks: [] }) });
      const world: World = { nodes, services: [zoned, plain], tasks: [] };
      const scheduler = new Scheduler();
      for (let round = 0; round < 5; round++) {
        for (const of of world.services) {
          for (let i = 0; i < random.next() * 30; i++) {
            const id = `${of.id}-${round}-${i}` as Task['id'];
            world.tasks.push(newTask(of, i, { state: 'pending' }, { id, nodeId: '' }));
          }
        }
        decide(scheduler, world);
        const of = (service: Service): readonly Task[] =>
          world.tasks.filter(({ serviceId }) => serviceId === service.id);
        assert.ok(spreadOf(nodes, of(zoned), ({ spec }) => spec.labels['zone'] ?? '') <= 1, 'zones');
        assert.ok(spreadOf(nodes, of(plain), ({ id }) => id) <= 1, 'nodes');
      }
    });
  }
});

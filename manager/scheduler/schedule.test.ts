import assert from 'node:assert/strict';
import { imageKey } from '../../base/image-key.ts';
import type { ServiceSpec, Node, Service, Task, TaskSpec, Volume } from '../../proto/types/index.ts';
import { node, service as newService, task as newTask } from '../../test/builders/objects.ts';
import { containerSpec } from '../../test/builders/container-spec.ts';
import { taskSpec } from '../../test/builders/specs.ts';
import { expandVolumes } from '../model/templates.ts';
import { Scheduler } from './schedule.ts';
import type { Decision } from './schedule.ts';

const GB = 2 ** 30;

/** A store that keeps what the scheduler decides. */
class Cluster {
  readonly scheduler = new Scheduler();
  nodes: Node[] = [];
  tasks: Task[] = [];
  readonly services = new Map<string, Service>();
  readonly volumes = new Map<string, Volume>();
  readonly drivers = new Map<string, string>();
  /** Services that share the network of one, by its id. */
  readonly sharers = new Map<string, Service[]>();

  constructor(...nodes: Node[]) {
    this.nodes = nodes;
  }

  service(name: string, spec: Partial<TaskSpec> = {}, change: Partial<Service> = {}, rest: Partial<ServiceSpec> = {}) {
    const service = newService(name, change, { task: taskSpec({ networks: [], ...spec }), ...rest });
    this.services.set(service.id, service);
    return service;
  }

  add(of: Service, slot: number, change: Partial<Task> = {}, status: Partial<Task['status']> = {}): Task {
    const waiting = { state: 'pending', message: 'allocated', containerId: '', ...status } as const;
    const made = newTask(of, slot, waiting, {
      id: `${of.id}-${slot}-${this.tasks.length}` as Task['id'],
      nodeId: '',
      ...change,
    });
    this.tasks.push(made);
    return made;
  }

  addMany(of: Service, count: number): void {
    for (let slot = 1; slot <= count; slot++) this.add(of, slot);
  }

  decide(limit?: number): Decision {
    return this.scheduler.decide(
      {
        nodes: [...this.nodes],
        tasks: [...this.tasks],
        service: (id) => this.services.get(id),
        volume: (name) => this.volumes.get(name),
        driverOf: (name) => this.drivers.get(name),
        sharersOf: (service) => this.sharers.get(service.id) ?? [],
        servicePorts: () => [...this.services.values()].flatMap(({ ports }) => ports),
        tasksOf: (id) => this.tasks.filter(({ serviceId }) => serviceId === id),
      },
      1,
      limit,
    );
  }

  /** Decides and keeps the result. */
  run(limit?: number): Decision {
    const decision = this.decide(limit);
    const changed = new Map(decision.tasks.map((task) => [task.id, { ...task }]));
    this.tasks = this.tasks.map((task) => changed.get(task.id) ?? task);
    for (const volume of decision.volumes) this.volumes.set(volume.spec.name, { ...volume });
    return decision;
  }

  set(id: string, change: Partial<Task>, status: Partial<Task['status']> = {}): void {
    this.tasks = this.tasks.map((task) =>
      task.id === id ? { ...task, ...change, status: { ...task.status, ...status } } : task,
    );
  }

  setNode(changed: Node): void {
    this.nodes = this.nodes.map((node) => (node.id === changed.id ? changed : node));
  }

  /** "a:2 b:1" */
  get spread(): string {
    const counts = new Map<string, number>(this.nodes.map(({ id }) => [id, 0]));
    for (const { nodeId } of this.tasks) if (nodeId !== '') counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
    return [...counts].map(([id, count]) => `${id}:${count}`).join(' ');
  }

  message(slot = 1): string | undefined {
    return this.tasks.find((task) => task.slot === slot)?.status.message;
  }
}

const volumeMount = (source: string, driverOptions: Record<string, string> = {}) => ({
  container: {
    ...taskSpec().container,
    mounts: [
      {
        type: 'volume' as const,
        source,
        target: '/data',
        readOnly: false,
        noCopy: false,
        subpath: '',
        driver: 'local',
        driverOptions,
        labels: {},
      },
    ],
  },
});
const bindMount = (source: string) => ({
  container: {
    ...taskSpec().container,
    mounts: [
      {
        type: 'bind' as const,
        source,
        target: '/data',
        readOnly: false,
        propagation: 'rprivate' as const,
        createHostPath: true,
      },
    ],
  },
});
const volume = (name: string, nodeIds?: string[]): Volume => ({
  id: `volume-${name}` as Volume['id'],
  meta: { version: 1, createdAt: 0, updatedAt: 0 },
  projectId: 'project' as Volume['projectId'],
  spec: { name, composeName: name, driver: 'local', driverOptions: {}, labels: {} },
  pendingDelete: false,
  ...(nodeIds === undefined ? {} : { nodeIds: nodeIds as Node['id'][] }),
});
const hostPort = (published: number, hostIp = '') => [
  { target: 80, published, protocol: 'tcp' as const, mode: 'host' as const, hostIp },
];

describe('Scheduler', () => {
  it('asks for the network drivers that a kernel may lack, and says who lacks them', () => {
    const [a, b] = [node('a'), node('b')];
    const cluster = new Cluster(a, { ...b, description: { ...b.description, networkDrivers: ['macvlan'] } });
    for (const [name, driver] of [
      ['lan', 'macvlan'],
      ['wire', 'ipvlan'],
      ['plain', 'overlay'],
    ] as const)
      // prettier-ignore
      cluster.drivers.set(name, driver);
    const on = (...names: readonly string[]) => ({
      networks: names.map((network) => ({ network, aliases: [], ipv4Address: '' })),
    });
    cluster.addMany(cluster.service('web', on('plain', 'lan')), 2);
    cluster.run();
    assert.equal(cluster.spread, 'a:0 b:2');
    cluster.tasks = [];
    cluster.add(cluster.service('db', on('wire')), 1);
    cluster.run();
    assert.equal(cluster.message(), 'no suitable node: 2 of 2 have no ipvlan networks');
    cluster.tasks = [];
    cluster.add(cluster.service('agent', on('lan')), 1, { boundNode: a.id });
    cluster.run();
    assert.equal(cluster.message(), 'no suitable node: its node has no macvlan networks');
  });

  it('gives every node its share, the older ones first', () => {
    const cluster = new Cluster(node('a'), node('b'), node('c'));
    cluster.addMany(cluster.service('web'), 7);
    cluster.run();
    assert.equal(cluster.spread, 'a:3 b:2 c:2');
  });

  it('counts the tasks of the service first, then all', () => {
    const cluster = new Cluster(node('a'), node('b'));
    cluster.add(cluster.service('db'), 1);
    cluster.run();
    cluster.addMany(cluster.service('web'), 1);
    cluster.run();
    assert.equal(cluster.spread, 'a:1 b:1');
    cluster.add(cluster.service('web'), 2);
    cluster.run();
    assert.equal(cluster.spread, 'a:2 b:1');
  });

  it('prefers the node with the smaller share reserved where the counts are equal', () => {
    const cluster = new Cluster(node('a'), node('b'));
    cluster.addMany(cluster.service('small', { reservations: { memoryBytes: GB } }), 1);
    cluster.addMany(cluster.service('big', { reservations: { memoryBytes: 4 * GB } }), 1);
    cluster.run();
    cluster.addMany(cluster.service('web'), 1);
    cluster.run();
    assert.equal(cluster.tasks.at(-1)?.nodeId, 'a');
  });

  it('prefers a node that has the image among those that are equal otherwise', () => {
    const has = (id: string, ...images: string[]): Node => ({
      ...node(id),
      images: images.flatMap((image) => imageKey(image) ?? []),
    });
    const web = { container: containerSpec({ image: 'web:2' }) };
    const cluster = new Cluster(has('a', 'web:1'), has('b', 'docker.io/library/web:2'), has('c'), has('d', 'web:2'));
    cluster.addMany(cluster.service('web', web), 1);
    cluster.run();
    assert.equal(cluster.spread, 'a:0 b:1 c:0 d:0');
    cluster.addMany(cluster.service('more', web), 2);
    cluster.run();
    assert.equal(cluster.spread, 'a:1 b:1 c:0 d:1', 'many at a time, the evenness first');
    cluster.setNode(has('c', 'web:2'));
    cluster.setNode(has('a'));
    cluster.addMany(cluster.service('again', web), 1);
    cluster.run();
    assert.equal(cluster.spread, 'a:1 b:1 c:1 d:1');
    cluster.setNode(has('b'));
    cluster.setNode(has('a'));
    cluster.addMany(cluster.service('last', web), 1);
    cluster.run();
    assert.equal(cluster.spread, 'a:1 b:1 c:2 d:1', 'what a node says now counts');
  });

  it('passes by nodes that are down, paused or drained', () => {
    const cluster = new Cluster(
      node('a', {}, { status: { state: 'down' } }),
      node('b', {}, { spec: { availability: 'pause' } }),
      node('c', {}, { spec: { availability: 'drain' } }),
      node('d'),
    );
    cluster.addMany(cluster.service('web'), 2);
    cluster.run();
    assert.equal(cluster.spread, 'a:0 b:0 c:0 d:2');
  });

  it('says what hinders, the nodes that lack least first', () => {
    const cluster = new Cluster(
      ...['a', 'b'].map((id) => node(id, { disk: 'ssd' })),
      ...['c', 'd', 'e'].map((id) => node(id)),
    );
    const full = cluster.service('full', {
      reservations: { memoryBytes: 7.75 * GB },
      constraints: ['node.labels.disk==ssd'],
    });
    cluster.addMany(full, 2);
    cluster.run();
    const web = { reservations: { memoryBytes: GB / 2 }, constraints: ['node.labels.disk == ssd'] };
    cluster.addMany(cluster.service('web', web), 3);
    assert.equal(cluster.run().tasks.length, 3);
    assert.equal(
      cluster.tasks.at(-1)?.status.message,
      'no suitable node: 2 of 5 lack 512 MB of memory, 3 do not match node.labels.disk==ssd',
    );
    assert.equal(cluster.tasks.at(-1)?.status.state, 'pending');
    assert.deepEqual(cluster.run().tasks, [], 'what was said is not said again');
  });

  for (const [name, spec, message] of [
    ['CPUs', { reservations: { nanoCpus: 4.5e9 } }, '1 of 4 lacks 4.5 CPUs'],
    ['memory', { reservations: { memoryBytes: 16 * GB } }, '1 of 4 lacks 16 GB of memory'],
    ['a constraint', { constraints: ['node.role==manager', 'node.id==a'] }, '1 of 4 does not match node.role==manager'],
  ] as const) {
    it(`says that nodes are down, paused or drained, and that one lacks ${name}`, () => {
      const cluster = new Cluster(
        node('a'),
        node('b', {}, { status: { state: 'down' } }),
        node('c', {}, { spec: { availability: 'pause' } }),
        node('d', {}, { spec: { availability: 'drain' } }),
      );
      cluster.addMany(cluster.service('web', spec), 1);
      cluster.run();
      assert.equal(cluster.message(), `no suitable node: ${message}, 1 is drained, 1 is paused, 1 is down`);
    });
  }

  it('says that there is no node', () => {
    const cluster = new Cluster();
    cluster.addMany(cluster.service('web'), 1);
    cluster.run();
    assert.equal(cluster.message(), 'no suitable node: the cluster has no node');
  });

  it('places what waits as soon as something is freed, a node comes or is changed', () => {
    const cluster = new Cluster(node('a'));
    const web = cluster.service('web', { reservations: { memoryBytes: 5 * GB } });
    cluster.addMany(web, 4);
    cluster.run();
    assert.equal(cluster.spread, 'a:1');
    const running = cluster.tasks.find(({ nodeId }) => nodeId === 'a');
    cluster.set(running?.id ?? '', {}, { state: 'failed' });
    cluster.run();
    assert.equal(cluster.tasks.filter(({ status }) => status.state === 'assigned').length, 1);
    cluster.nodes = [...cluster.nodes, node('b', {}, { spec: { availability: 'pause' } })];
    cluster.run();
    assert.equal(cluster.tasks.filter(({ nodeId }) => nodeId === 'b').length, 0);
    cluster.setNode(node('b'));
    cluster.run();
    assert.equal(cluster.tasks.filter(({ nodeId }) => nodeId === 'b').length, 1);
  });

  it('forgets what was decided and not written', () => {
    const cluster = new Cluster(node('a'));
    cluster.addMany(cluster.service('web', { reservations: { memoryBytes: 5 * GB } }), 1);
    for (let i = 0; i < 3; i++) assert.equal(cluster.decide().tasks[0]?.nodeId, 'a');
    cluster.tasks = [];
    assert.deepEqual(cluster.decide().tasks, []);
    cluster.addMany(cluster.service('db', { reservations: { memoryBytes: 8 * GB } }), 1);
    assert.equal(cluster.run().tasks[0]?.nodeId, 'a');
  });

  it('decides on no more than it is asked to, and on the others the next time', () => {
    const cluster = new Cluster(node('a'), node('b'));
    cluster.addMany(cluster.service('web'), 5);
    cluster.addMany(cluster.service('huge', { reservations: { memoryBytes: 100 * GB } }), 5);
    const counts: number[] = [];
    for (let i = 0; i < 5; i++) counts.push(cluster.run(3).tasks.length);
    assert.deepEqual(counts, [3, 3, 3, 1, 0]);
    assert.equal(cluster.spread, 'a:3 b:2');
  });

  describe('preferences', () => {
    const zones = () => [
      node('a1', { zone: 'a', rack: '1' }),
      node('a2', { zone: 'a', rack: '1' }),
      node('a3', { zone: 'a', rack: '2' }),
      node('b1', { zone: 'b', rack: '1' }),
      node('x'),
    ];
    const spread = (...labels: string[]): Partial<TaskSpec> => ({
      placement: { spread: labels, maxReplicasPerNode: 0 },
    });

    it('spreads over the values of a label; nodes without it are a value', () => {
      const cluster = new Cluster(...zones());
      cluster.addMany(cluster.service('web', spread('node.labels.zone')), 9);
      cluster.run();
      assert.equal(cluster.spread, 'a1:1 a2:1 a3:1 b1:3 x:3');
    });

    it('spreads over several levels', () => {
      const cluster = new Cluster(...zones());
      cluster.addMany(cluster.service('web', spread('node.labels.zone', 'node.labels.rack')), 12);
      cluster.run();
      assert.equal(cluster.spread, 'a1:1 a2:1 a3:2 b1:4 x:4');
    });

    it('counts what runs on nodes that take no more', () => {
      const cluster = new Cluster(...zones());
      const web = cluster.service('web', spread('node.labels.zone'));
      cluster.addMany(web, 3);
      cluster.run();
      cluster.setNode(node('b1', { zone: 'b' }, { spec: { availability: 'pause' } }));
      cluster.nodes = [...cluster.nodes, node('b2', { zone: 'b' })];
      cluster.add(web, 4);
      cluster.run();
      assert.notEqual(cluster.tasks.at(-1)?.nodeId, 'b2');
    });

    it('fills other values when one has no room', () => {
      const cluster = new Cluster(...zones());
      const web = { ...spread('node.labels.zone'), reservations: { memoryBytes: 4 * GB } };
      cluster.addMany(cluster.service('web', web), 10);
      cluster.run();
      assert.equal(cluster.spread, 'a1:2 a2:2 a3:2 b1:2 x:2');
    });

    it('follows the service as it is now, also for tasks that wait already', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = cluster.service('web', { placement: { spread: [], maxReplicasPerNode: 1 } });
      cluster.addMany(web, 3);
      cluster.run();
      assert.equal(cluster.message(3), 'no suitable node: 2 of 2 have 1 replica, the most allowed per node');
      cluster.service('web', { placement: { spread: [], maxReplicasPerNode: 2 } });
      cluster.run();
      assert.equal(cluster.spread, 'a:2 b:1');
    });
  });

  describe('ports of the host', () => {
    it('gives one node to each replica', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = cluster.service('web');
      for (const slot of [1, 2, 3]) cluster.add(web, slot, { ports: hostPort(80) });
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:1');
      assert.equal(cluster.message(3), 'no suitable node: 2 of 2 have port 80/tcp in use by app-web');
    });

    it('lets the same port be on different addresses', () => {
      const cluster = new Cluster(node('a'));
      const web = cluster.service('web');
      cluster.add(web, 1, { ports: hostPort(80, '10.0.0.1') });
      cluster.add(web, 2, { ports: hostPort(80, '10.0.0.2') });
      cluster.add(web, 3, { ports: hostPort(80) });
      cluster.run();
      assert.equal(cluster.spread, 'a:2');
    });
  });

  describe('a slot', () => {
    it('goes back to where its predecessor ran', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = cluster.service('web');
      const old = cluster.add(web, 1, { nodeId: 'b' as Task['nodeId'] }, { state: 'failed', containerId: 'c1' });
      cluster.add(web, 1, { predecessor: old.id });
      cluster.run();
      assert.equal(cluster.tasks.at(-1)?.nodeId, 'b');
    });

    it('leaves a node that never made its container, once that has failed five times, and goes there last', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = cluster.service('web');
      const reject = (id: string): void => cluster.set(id, {}, { state: 'rejected', timestamp: 1 });
      let last = cluster.add(web, 1);
      const went: string[] = [];
      for (let i = 0; i < 6; i++) {
        cluster.run();
        went.push(cluster.tasks.at(-1)?.nodeId ?? '');
        reject(last.id);
        last = cluster.add(web, 1, { predecessor: last.id });
      }
      assert.deepEqual(went, ['a', 'a', 'a', 'a', 'a', 'b']);
      cluster.setNode(node('b', {}, { spec: { availability: 'pause' } }));
      cluster.run();
      assert.equal(cluster.tasks.at(-1)?.nodeId, 'a');
    });

    it('may take the room of the task that it waits for, and gives it to no other', () => {
      const cluster = new Cluster(node('a'));
      const web = cluster.service('web', { reservations: { memoryBytes: 5 * GB } });
      cluster.add(web, 1, { ports: hostPort(80) });
      cluster.run();
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'running' });
      const newer = { specVersion: 2, ports: hostPort(80) };
      cluster.add(web, 1, { ...newer, desiredState: 'ready' });
      cluster.add(web, 2, newer);
      cluster.run();
      assert.equal(cluster.tasks[1]?.nodeId, 'a');
      assert.equal(cluster.tasks[2]?.nodeId, '');
    });

    it('stays spread while a service is updated one slot at a time', () => {
      const cluster = new Cluster(node('a'), node('b'), node('c'));
      const web = cluster.service('web');
      cluster.addMany(web, 3);
      cluster.run();
      for (const slot of [1, 2, 3]) {
        cluster.add(web, slot, { specVersion: 2, desiredState: 'ready' });
        cluster.run();
        const old = cluster.tasks.find((task) => task.slot === slot && task.specVersion === 1);
        cluster.tasks = cluster.tasks.filter((task) => task !== old);
      }
      assert.equal(cluster.spread, 'a:1 b:1 c:1');
    });

    it('for one node alone goes there or says what hinders', () => {
      const cluster = new Cluster(node('a'), node('b', {}, { spec: { availability: 'pause' } }));
      const agent = cluster.service('agent');
      for (const [slot, id] of ['a', 'b', 'gone'].entries())
        cluster.add(agent, slot + 1, { boundNode: id as Node['id'] });
      cluster.run();
      assert.deepEqual(
        cluster.tasks.map(({ status }) => [status.state, status.message]),
        [
          ['assigned', 'assigned'],
          ['pending', 'no suitable node: its node is paused'],
          ['pending', 'no suitable node: its node is gone'],
        ],
      );
    });
  });

  describe('paths of nodes', () => {
    const site = bindMount('/srv/site');
    const having = (id: string, present: string[], missing: string[] = [], change: Partial<Node> = {}): Node => ({
      ...node(id),
      bindSources: { present, missing },
      ...change,
    });
    const down = { status: node('a', {}, { status: { state: 'down' } }).status };

    it('takes tasks to the nodes that have them, and waits until all that are there have said', () => {
      const cluster = new Cluster(having('a', []), having('b', ['/srv/site']), having('c', [], ['/srv/site']));
      cluster.addMany(cluster.service('web', site), 3);
      cluster.run();
      assert.equal(cluster.spread, 'a:0 b:0 c:0');
      assert.equal(cluster.message(), 'waiting to hear whether "a" has "/srv/site"');
      assert.equal(cluster.run().tasks.length, 0, 'it is said once');
      cluster.setNode(having('a', ['/srv/site']));
      cluster.run();
      assert.equal(cluster.spread, 'a:2 b:1 c:0');
    });

    it('names those that are waited for where they are few', () => {
      const cluster = new Cluster(...['a', 'b', 'c', 'd', 'e'].map((id) => having(id, [])));
      cluster.addMany(cluster.service('web', site), 1);
      const messages = ['e', 'd', 'c', 'b'].map((id) => {
        cluster.run();
        const message = cluster.message();
        cluster.setNode(having(id, [], ['/srv/site']));
        return message;
      });
      assert.deepEqual(messages, [
        'waiting to hear which nodes have "/srv/site"',
        'waiting to hear which nodes have "/srv/site"',
        'waiting to hear whether "a" or "b" or "c" has "/srv/site"',
        'waiting to hear whether "a" or "b" has "/srv/site"',
      ]);
    });

    it('waits for no word of nodes that are down, that constraints leave out, or that say nothing of paths', () => {
      const cluster = new Cluster(
        having('a', [], [], down),
        having('b', []),
        node('c'),
        having('d', [], ['/srv/site']),
      );
      cluster.addMany(cluster.service('web', { ...site, constraints: ['node.id!=b'] }), 2);
      cluster.run();
      // Nobody has it: the first one decides where it is made.
      assert.equal(cluster.spread, 'a:0 b:0 c:2 d:0');
    });

    it('goes by none of them where no node says what it has, and asks nobody where there is one node', () => {
      const silent = new Cluster(node('a'), node('b'));
      silent.addMany(silent.service('web', site), 2);
      silent.run();
      assert.equal(silent.spread, 'a:1 b:1');
      const single = new Cluster(having('a', []));
      single.addMany(single.service('web', site), 1);
      single.run();
      assert.equal(single.spread, 'a:1');
    });

    it('waits for the only node that has it', () => {
      const missing = ['/srv/site'];
      const cluster = new Cluster(having('a', missing, [], down), having('b', [], missing), having('c', [], missing));
      cluster.addMany(cluster.service('web', site), 1);
      cluster.run();
      assert.equal(cluster.message(), 'no suitable node: 2 of 3 do not have "/srv/site", 1 is down');
      cluster.setNode(having('c', missing));
      cluster.run();
      assert.equal(cluster.spread, 'a:0 b:0 c:1', 'it was made there');
    });

    it('counts what a node had before as long as it cannot be asked', () => {
      const former = { bindSources: { present: [], missing: [], former: ['/srv/site'] } };
      const cluster = new Cluster(having('a', [], [], { ...down, ...former }), having('b', [], ['/srv/site']));
      cluster.addMany(cluster.service('web', site), 1);
      cluster.run();
      assert.equal(cluster.message(), 'no suitable node: 1 of 2 does not have "/srv/site", 1 is down');
      cluster.setNode(having('a', [], [], former));
      cluster.run();
      assert.equal(cluster.message(), 'waiting to hear whether "a" has "/srv/site"');
      cluster.setNode(having('a', [], ['/srv/site']));
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:0');
    });

    it('is where a container made it, also while that node has not said so', () => {
      const missing = ['/srv/site'];
      const cluster = new Cluster(having('a', [], missing), having('b', [], missing));
      const web = cluster.service('web', site);
      cluster.add(web, 1);
      cluster.run();
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'orphaned', containerId: 'c1' });
      cluster.setNode(having('a', [], missing, down));
      cluster.add(web, 1);
      cluster.run();
      assert.equal(cluster.tasks[1]?.nodeId, '');
      assert.equal(cluster.tasks[1]?.status.message, 'no suitable node: 1 of 2 does not have "/srv/site", 1 is down');
    });

    it('lets constraints say that another place is meant', () => {
      const cluster = new Cluster(having('a', ['/srv/site']), having('b', [], ['/srv/site']));
      cluster.addMany(cluster.service('web', { ...site, constraints: ['node.id==b'] }), 1);
      cluster.run();
      assert.equal(cluster.spread, 'a:0 b:1');
    });

    it('gives each node its own of a global service', () => {
      const cluster = new Cluster(having('a', ['/srv/site']), having('b', []));
      const web = cluster.service('web', site, {}, { mode: 'global' });
      for (const [slot, boundNode] of (['a', 'b'] as Node['id'][]).entries()) cluster.add(web, slot + 1, { boundNode });
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:1');
    });

    it('takes those along whose network others will share, where there is room', () => {
      const start = (constraints: string[] = []): Cluster => {
        const cluster = new Cluster(having('a', [], ['/srv/site']), having('b', ['/srv/site']));
        const vpn = cluster.service('vpn', { constraints });
        cluster.sharers.set(vpn.id, [cluster.service('web', site)]);
        cluster.addMany(vpn, 1);
        cluster.run();
        return cluster;
      };
      assert.equal(start().spread, 'a:0 b:1');
      assert.equal(start(['node.id==a']).spread, 'a:1 b:0', 'its own wishes come first');
    });
  });

  describe('volumes', () => {
    it('keeps all replicas where the first one made the volume', () => {
      const cluster = new Cluster(node('a'), node('b'), node('c'));
      cluster.addMany(cluster.service('web'), 1);
      cluster.run();
      cluster.addMany(cluster.service('db', volumeMount('app_data')), 3);
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:3 c:0');
    });

    it('notes where a container made the volume, once', () => {
      const cluster = new Cluster(node('a'), node('b'));
      cluster.volumes.set('app_data', volume('app_data'));
      cluster.add(cluster.service('db', volumeMount('app_data')), 1);
      assert.equal(cluster.run().volumes.length, 0, 'nothing was made yet');
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'running', containerId: 'c1' });
      assert.deepEqual(cluster.decide().volumes[0]?.nodeIds, ['a']);
      assert.deepEqual(cluster.run().volumes[0]?.nodeIds, ['a'], 'it was not written');
      assert.equal(cluster.run().volumes.length, 0);
    });

    it('notes it also for a volume that is going, until the container is gone', () => {
      const cluster = new Cluster(node('a'));
      cluster.volumes.set('app_data', { ...volume('app_data'), pendingDelete: true });
      cluster.add(cluster.service('db', volumeMount('app_data')), 1);
      cluster.run();
      cluster.set(cluster.tasks[0]?.id ?? '', { desiredState: 'remove' }, { state: 'running', containerId: 'c1' });
      assert.deepEqual(cluster.run().volumes[0]?.nodeIds, ['a'], 'that node is asked to remove it');
      assert.equal(cluster.run().volumes.length, 0);
      cluster.volumes.set('app_data', { ...volume('app_data', []), pendingDelete: true });
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'remove' });
      assert.equal(cluster.run().volumes.length, 0, 'it has removed it');
    });

    it('notes every node that knows a volume of a file server, and goes by none of them', () => {
      const cluster = new Cluster(node('a'), node('b'));
      cluster.volumes.set('app_data', volume('app_data'));
      cluster.addMany(cluster.service('web', volumeMount('app_data', { type: 'nfs' })), 2);
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:1');
      for (const { id } of cluster.tasks) cluster.set(id, {}, { state: 'running', containerId: 'c1' });
      assert.deepEqual(cluster.run().volumes[0]?.nodeIds, ['a', 'b'], 'each of them is asked when it goes');
    });

    it('waits for the node that holds it, and does not start with an empty one elsewhere', () => {
      const cluster = new Cluster(node('a', {}, { status: { state: 'down' } }), node('b'), node('c'));
      cluster.volumes.set('app_data', volume('app_data', ['a']));
      cluster.addMany(cluster.service('db', volumeMount('app_data')), 1);
      cluster.run();
      assert.equal(cluster.message(), 'no suitable node: 2 of 3 do not hold volume "app_data", 1 is down');
      cluster.setNode(node('a'));
      cluster.run();
      assert.equal(cluster.tasks[0]?.nodeId, 'a');
    });

    it('makes it anew when no node that held it is left', () => {
      const cluster = new Cluster(node('b'));
      cluster.volumes.set('app_data', volume('app_data', ['a']));
      cluster.addMany(cluster.service('db', volumeMount('app_data')), 1);
      cluster.run();
      assert.equal(cluster.tasks[0]?.nodeId, 'b');
    });

    it('makes it anew on one node for all replicas', () => {
      const cluster = new Cluster(node('b'), node('c'));
      cluster.volumes.set('app_data', volume('app_data', ['a']));
      cluster.addMany(cluster.service('db', volumeMount('app_data')), 2);
      cluster.run();
      assert.equal(cluster.spread, 'b:2 c:0');
    });

    it('lets go of a node on which nothing was made', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const db = cluster.service('db', volumeMount('app_data'));
      cluster.add(db, 1);
      cluster.run();
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'orphaned' });
      cluster.setNode(node('a', {}, { status: { state: 'down' } }));
      cluster.add(db, 1);
      cluster.run();
      assert.equal(cluster.tasks[1]?.nodeId, 'b');
    });

    it('takes a volume on a file server for the same one everywhere', () => {
      const cluster = new Cluster(node('a'), node('b'));
      cluster.addMany(cluster.service('web', volumeMount('app_share', { type: 'nfs', o: 'addr=fs' })), 2);
      cluster.run();
      assert.equal(cluster.spread, 'a:1 b:1');
    });
  });

  describe('generic resources', () => {
    const wants = (count: number, names: readonly string[] = []): Partial<TaskSpec> => ({
      reservations: { generic: [{ kind: 'gpu', count, names }] },
    });
    const withGpus = (id: string, count: number, names: readonly string[] = []): Node => {
      const resources = { nanoCpus: 4e9, memoryBytes: 8 * GB, generic: [{ kind: 'gpu', count, names }] };
      return node(id, {}, { description: { resources } });
    };
    const held = (cluster: Cluster): unknown[] =>
      cluster.tasks.map(({ nodeId, generic, status }) => [nodeId || status.message, generic?.[0]?.names ?? []]);

    it('are set aside, by name where the node has names, and given to others afterwards', () => {
      const cluster = new Cluster(withGpus('named', 2, ['a', 'b']), node('none'));
      const web = cluster.service('web', wants(1));
      cluster.addMany(web, 3);
      cluster.run();
      const lacks = 'no suitable node: 1 of 2 has no gpu, 1 lacks 1 gpu';
      assert.deepEqual(held(cluster), [
        ['named', ['a']],
        ['named', ['b']],
        [lacks, []],
      ]);
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'complete' });
      cluster.run();
      assert.deepEqual(held(cluster)[2], ['named', ['a']]);
    });

    it('are counted where they have no names', () => {
      const cluster = new Cluster(withGpus('many', 5));
      cluster.addMany(cluster.service('web', wants(2)), 3);
      cluster.run();
      assert.deepEqual(
        cluster.tasks.map(({ nodeId }) => nodeId),
        ['many', 'many', ''],
      );
      assert.deepEqual(cluster.tasks[0]?.generic, [{ kind: 'gpu', count: 2, names: [] }]);
    });

    it('can be asked for by name', () => {
      const cluster = new Cluster(withGpus('x', 2, ['a', 'b']), withGpus('y', 2, ['c', 'd']), withGpus('z', 9));
      cluster.add(cluster.service('one', wants(1, ['d'])), 1);
      cluster.add(cluster.service('two', wants(2, ['a', 'c'])), 1);
      cluster.run();
      const lacks = 'no suitable node: 3 of 3 lack gpu a, c';
      assert.deepEqual(held(cluster), [
        ['y', ['d']],
        [lacks, []],
      ]);
    });

    it('of the task that a new one waits for are given to the new one', () => {
      const cluster = new Cluster(withGpus('x', 1, ['a']));
      const web = cluster.service('web', wants(1));
      const first = cluster.add(web, 1);
      cluster.run();
      cluster.set(cluster.tasks[0]?.id ?? '', {}, { state: 'running' });
      const second = cluster.add(web, 1, { desiredState: 'ready', specVersion: 2 });
      cluster.run();
      assert.deepEqual(held(cluster), [
        ['x', ['a']],
        ['x', ['a']],
      ]);
      cluster.tasks = cluster.tasks.filter(({ id }) => id !== first.id);
      cluster.add(cluster.service('other', wants(1)), 1);
      cluster.run();
      assert.deepEqual(held(cluster).at(-1), ['no suitable node: 1 of 1 lacks 1 gpu', []]);
      cluster.tasks = cluster.tasks.filter(({ id }) => id !== second.id);
      cluster.run();
      assert.deepEqual(held(cluster), [['x', ['a']]]);
    });
  });

  describe('templates', () => {
    const mount = (source: string) => ({
      type: 'volume' as const,
      source,
      target: '/data',
      readOnly: false,
      noCopy: false,
      subpath: '',
      driver: 'local',
      driverOptions: {},
      labels: { 'com.docker.compose.volume': 'data' },
    });
    const templated = (cluster: Cluster, source: string, hostname = '') =>
      cluster.service('web', { container: containerSpec({ hostname, mounts: [mount(source)] }) });

    it('are expanded with the node, and the volumes that they name are written down', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = templated(cluster, 'data-{{.Node.Hostname}}', '{{.Service.Name}}-{{.Task.Slot}}-{{.Node.ID}}');
      cluster.addMany(web, 2);
      const { tasks, newVolumes } = cluster.run();
      assert.deepEqual(
        tasks.map(({ spec }) => spec.container.hostname),
        ['app_web-1-a', 'app_web-2-b'],
      );
      assert.deepEqual(
        newVolumes.map(({ spec, projectId }) => [spec.name, spec.composeName, projectId]),
        [
          ['data-a', 'data', 'project'],
          ['data-b', 'data', 'project'],
        ],
      );
    });

    it('that cannot be expanded on a node reject the task with the reason', () => {
      const cluster = new Cluster(node('ab'));
      cluster.addMany(templated(cluster, 'data', '{{slice .Node.Hostname 0 5}}'), 1);
      const [task] = cluster.run().tasks;
      assert.equal(task?.status.state, 'rejected');
      assert.equal(task.nodeId, '');
      assert.equal(
        task.status.error,
        'expanding the hostname ("{{slice .Node.Hostname 0 5}}"): slice: 0 to 5 is outside of 2 elements (on node "ab")',
      );
    });

    it('keep each slot with its own volume', () => {
      const cluster = new Cluster(node('a'), node('b'));
      const web = templated(cluster, 'data-{{.Task.Slot}}');
      const bySlot = (slot: number): Task => expandVolumes(cluster.add(web, slot), web);
      cluster.tasks = [bySlot(1), bySlot(2)];
      cluster.run();
      assert.deepEqual(
        cluster.tasks.map(({ nodeId, spec }) => [nodeId, spec.container.mounts.map((one) => 'source' in one && one.source)]), // prettier-ignore
        [
          ['a', ['data-1']],
          ['b', ['data-2']],
        ],
      );
      for (const task of cluster.tasks) cluster.set(task.id, {}, { state: 'running', containerId: 'c' });
      cluster.run();
      const again = expandVolumes({ ...cluster.add(web, 2), id: 'again' as Task['id'] }, web);
      cluster.tasks = [...cluster.tasks.slice(0, -1), again];
      cluster.run();
      assert.equal(cluster.tasks.at(-1)?.nodeId, 'b', 'where the volume of slot 2 is');
    });
  });
});

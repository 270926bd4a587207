import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { ServiceSpec } from '../../proto/types/index.ts';
import { containerSpec } from '../builders/container-spec.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, Script } from '../fakes/cluster.ts';

const restartAlways = taskSpec({
  restart: { condition: 'any', delayMs: 100, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 },
});
const dependsOn = (service: string, condition: 'started' | 'healthy' | 'completed', required = true) => [
  { service, condition, required, restart: false },
];
const states = (cluster: FakeCluster, service: string): string[] =>
  cluster.tasks(service).map(({ slot, status, desiredState }) => `${slot}:${status.state}/${desiredState}`);

describe('a project on the managers with one worker', () => {
  let cluster: FakeCluster;
  const start = async (script?: Script, prepare?: Script): Promise<void> => {
    cluster = await fakeCluster(script, prepare);
  };
  afterEach(() => cluster.close());

  it('comes up: every replica gets a node and an address of its own', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { replicas: 3 })]));
    assert.deepEqual(states(cluster, 'web'), ['1:running/running', '2:running/running', '3:running/running']);
    const addresses = cluster.tasks('web').map((task) => task.addresses[0]?.ipv4);
    assert.equal(new Set(addresses).size, 3);
    assert.deepEqual(
      cluster.tasks('web').map(({ name }) => name),
      ['app-web-1', 'app-web-2', 'app-web-3'],
    );
    assert.equal(cluster.node.assignments.endpoints.size, 3);
  });

  it('changes nothing when nothing changed, and writes nothing', async () => {
    await start();
    const spec = project([serviceSpec('web')]);
    await cluster.apply(spec);
    const version = cluster.store.view((tx) => tx.version);
    const { changes, revision } = await cluster.apply(spec);
    assert.deepEqual(new Set(changes.map(({ action }) => action)), new Set(['none']));
    assert.equal(revision, 1);
    assert.equal(
      cluster.store.view((tx) => tx.version),
      version,
    );
  });

  it('shows a plan without writing in a dry run', async () => {
    await start();
    const { changes } = await cluster.apply(project([serviceSpec('web')]), { dryRun: true });
    assert.deepEqual(
      changes.map(({ kind, name, action }) => `${action} ${kind} ${name}`),
      ['create network app_default', 'create service web'],
    );
    assert.equal(
      cluster.store.view((tx) => tx.list('service').length),
      0,
    );
  });

  it('scales up into the lowest free slots and down from the highest, touching no other task', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { replicas: 2 })]));
    const before = cluster.tasks('web').map(({ id }) => id);
    await cluster.apply(project([serviceSpec('web', { replicas: 4 })]));
    assert.deepEqual(
      cluster.tasks('web').map(({ slot }) => slot),
      [1, 2, 3, 4],
    );
    await cluster.apply(project([serviceSpec('web', { replicas: 1 })]));
    assert.deepEqual(
      cluster.tasks('web').map(({ id }) => id),
      before.slice(0, 1),
    );
  });

  it('replaces tasks of a changed spec and removes the old ones', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { replicas: 2 })]));
    const before = cluster.tasks('web').map(({ id }) => id);
    const task = taskSpec({ container: { ...taskSpec().container, image: 'busybox:2' } });
    const { changes } = await cluster.apply(project([serviceSpec('web', { replicas: 2, task })]));
    assert.deepEqual(changes.at(-1), {
      kind: 'service',
      name: 'web',
      action: 'replace',
      fields: ['task.container.image'],
      effects: [{ field: 'task.container.image', effect: 'replace', reason: 'a running process keeps its program' }],
    });
    assert.deepEqual(states(cluster, 'web'), ['1:running/running', '2:running/running']);
    for (const { id } of cluster.tasks('web')) assert.ok(!before.includes(id));
  });

  it('keeps the old task while the new one cannot be prepared', async () => {
    await start(undefined, () => ({ state: 'rejected', error: 'no such image' }));
    await cluster.apply(project([serviceSpec('web')]));
    const task = taskSpec({ container: { ...taskSpec().container, image: 'missing' } });
    await cluster.apply(project([serviceSpec('web', { task })]));
    assert.deepEqual(states(cluster, 'web'), ['1:running/running', '1:rejected/ready']);
  });

  it('replaces one slot at a time when parallelism is 1', async () => {
    await start((task) => ({ state: 'running', health: task.specVersion === 1 ? 'none' : 'starting' }));
    const update = { parallelism: 1, delayMs: 0, order: 'stop-first' as const };
    await cluster.apply(project([serviceSpec('web', { replicas: 3, update })]));
    const task = taskSpec({ container: { ...taskSpec().container, env: ['A=1'] } });
    await cluster.apply(project([serviceSpec('web', { replicas: 3, update, task })]));
    const fresh = (): number => cluster.tasks('web').filter(({ specVersion }) => specVersion === 2).length;
    assert.equal(fresh(), 1);
    for (let done = 1; done < 3; done++) {
      const waiting = cluster
        .tasks('web')
        .find(({ specVersion, status }) => specVersion === 2 && status.health === 'starting');
      assert.ok(waiting);
      await cluster.say(waiting, { health: 'healthy' });
      assert.equal(fresh(), done + 1);
    }
  });

  it('restarts a crashing task later and later, keeping its data', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { task: restartAlways })]));
    const delays: number[] = [];
    for (let round = 0; round < 4; round++) {
      const running = cluster.tasks('web').findLast(({ status }) => status.state === 'running');
      assert.ok(running);
      await cluster.say(running, { state: 'failed', exitCode: 1 });
      const next = cluster.tasks('web').at(-1);
      assert.ok(next);
      assert.equal(next.predecessor, running.id);
      delays.push(next.notBefore - next.meta.createdAt);
      await cluster.clock.advance(delays.at(-1) ?? 0);
    }
    assert.deepEqual(delays, [100, 200, 400, 800]);
  });

  it('does not restart a task that ended well under on-failure', async () => {
    await start(() => ({ state: 'complete', exitCode: 0 }));
    const task = taskSpec({ restart: { ...restartAlways.restart, condition: 'on-failure' } });
    await cluster.apply(project([serviceSpec('job', { task })]));
    assert.deepEqual(states(cluster, 'job'), ['1:complete/running']);
  });

  it('keeps a bounded history of ended tasks', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { task: restartAlways })]));
    for (let round = 0; round < 9; round++) {
      const running = cluster.tasks('web').findLast(({ status }) => status.state === 'running');
      if (running !== undefined) await cluster.say(running, { state: 'failed', exitCode: 1 });
      await cluster.clock.advance(60_000);
    }
    assert.equal(cluster.tasks('web').length, 5);
  });

  it('holds a task until its dependency is healthy, and says so', async () => {
    await start((task) => ({ state: 'running', health: task.name.includes('db') ? 'starting' : 'none' }));
    await cluster.apply(project([serviceSpec('db'), serviceSpec('web', { dependsOn: dependsOn('db', 'healthy') })]));
    assert.equal(cluster.tasks('web')[0]?.status.message, 'waiting for db to be healthy');
    const [db] = cluster.tasks('db');
    assert.ok(db);
    await cluster.say(db, { health: 'healthy' });
    assert.deepEqual(states(cluster, 'web'), ['1:running/running']);
  });

  it('holds a task until a job has completed, and refuses it when the job failed', async () => {
    let code = 1;
    await start((task) =>
      task.name.includes('migrate')
        ? { state: code === 0 ? 'complete' : 'failed', exitCode: code }
        : { state: 'running' },
    );
    const spec = project([
      serviceSpec('migrate'),
      serviceSpec('web', { dependsOn: dependsOn('migrate', 'completed') }),
    ]);
    await cluster.apply(spec);
    assert.equal(cluster.tasks('web')[0]?.status.state, 'rejected');
    assert.equal(cluster.tasks('web')[0]?.status.error, `service "migrate" didn't complete successfully: exit 1`);
    code = 0;
    await cluster.apply(spec);
    await cluster.clock.advance(1000);
    assert.equal(cluster.tasks('migrate').at(-1)?.status.state, 'complete');
    assert.equal(cluster.tasks('web').at(-1)?.status.state, 'running');
  });

  it('goes on without a dependency that is not required', async () => {
    await start((task) => (task.name.includes('db') ? { state: 'failed', exitCode: 3 } : { state: 'running' }));
    await cluster.apply(
      project([serviceSpec('db'), serviceSpec('web', { dependsOn: dependsOn('db', 'healthy', false) })]),
    );
    assert.deepEqual(states(cluster, 'web'), ['1:running/running']);
  });

  it('stops dependents first and starts again with the same data', async () => {
    await start();
    const services = [serviceSpec('db'), serviceSpec('web', { dependsOn: dependsOn('db', 'started') })];
    await cluster.apply(project(services));
    const order: string[] = [];
    const { watch } = cluster.store.viewAndWatch(() => undefined);
    const watching = (async () => {
      for await (const { changes } of watch) {
        for (const change of changes) {
          if (
            change.table === 'task' &&
            change.after?.status.state === 'shutdown' &&
            change.before?.status.state !== 'shutdown'
          ) {
            order.push(change.after.name);
          }
        }
      }
    })();
    await cluster.control.stopServices(
      { project: 'app', services: [], graceOverrideMs: -1 },
      new AbortController().signal,
    );
    await cluster.clock.advance(200);
    watch.close();
    await watching;
    assert.deepEqual(order, ['app-web-1', 'app-db-1']);
    const [stopped] = cluster.tasks('web');
    await cluster.control.startServices(
      { project: 'app', services: [], graceOverrideMs: -1 },
      new AbortController().signal,
    );
    await cluster.clock.advance(200);
    const fresh = cluster.tasks('web').at(-1);
    assert.equal(fresh?.status.state, 'running');
    assert.equal(fresh.predecessor, stopped?.id);
  });

  it('starts what has ended when it is brought up again, but no job that others wait for', async () => {
    await start(({ name }) =>
      name.startsWith('app-web')
        ? { state: 'running' }
        : { state: name === 'app-broken-1' ? 'failed' : 'complete', exitCode: 0 },
    );
    const services = [
      serviceSpec('migrate'),
      serviceSpec('job'),
      serviceSpec('broken'),
      serviceSpec('web', { dependsOn: dependsOn('migrate', 'completed') }),
    ];
    await cluster.apply(project(services));
    const runs = (): readonly number[] => ['migrate', 'job', 'broken', 'web'].map((name) => cluster.tasks(name).length);
    assert.deepEqual(runs(), [1, 1, 1, 1]);
    await cluster.apply(project(services));
    assert.deepEqual(runs(), [1, 2, 2, 1]);
    const signal = new AbortController().signal;
    await cluster.control.stopServices({ project: 'app', services: [], graceOverrideMs: -1 }, signal);
    await cluster.clock.advance(200);
    await cluster.apply(project(services));
    assert.deepEqual(runs(), [1, 3, 3, 2]);
  });
  it('restarts in place: the same task with a higher restart count', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web')]));
    const [before] = cluster.tasks('web');
    await cluster.control.restartServices(
      { project: 'app', services: ['web'], graceOverrideMs: -1 },
      new AbortController().signal,
    );
    await cluster.clock.advance(200);
    const [after] = cluster.tasks('web');
    assert.equal(after?.id, before?.id);
    assert.equal(after?.status.restartCount, 1);
  });

  it('goes down without leaving an object, and twice is no error', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { replicas: 2 })]));
    const remove = () =>
      cluster.control.removeProject(
        { name: 'app', removeVolumes: false, services: [], graceOverrideMs: -1 },
        new AbortController().signal,
      );
    assert.deepEqual(await remove(), { found: true, keptNetworks: [], warnings: [] });
    await cluster.clock.advance(500);
    cluster.store.view((tx) => {
      for (const table of ['project', 'service', 'task', 'network', 'secret'] as const)
        assert.deepEqual(tx.list(table), [], table);
    });
    assert.deepEqual(await remove(), { found: false, keptNetworks: [], warnings: [] });
  });

  it('refuses a port that another service has, naming the owner, and changes nothing', async () => {
    await start();
    const port = { target: 80, published: 8080, protocol: 'tcp' as const, mode: 'ingress' as const, hostIp: '' };
    await cluster.apply(project([serviceSpec('web', { ports: [port] })]));
    const other = {
      ...project([serviceSpec('x', { name: 'other_x', ports: [port], task: taskSpec({ networks: [] }) })]),
      name: 'other',
      networks: [],
    };
    await assert.rejects(cluster.apply(other), (error) => {
      assert.ok(isTsswarmError(error, 'PORT_IN_USE'));
      assert.equal(
        error.message,
        'publishing port 8080/tcp for service "x": service "web" of project "app" has it already',
      );
      return true;
    });
    assert.equal(
      cluster.store.view((tx) => tx.list('project').length),
      1,
    );
  });

  it('reports a service that the file no longer has and removes it when asked', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web'), serviceSpec('old')]));
    const first = await cluster.apply(project([serviceSpec('web')]));
    assert.ok(first.changes.some(({ action, name }) => action === 'orphan' && name === 'old'));
    assert.equal(cluster.tasks('old').length, 1);
    await cluster.apply(project([serviceSpec('web')]), { removeOrphans: true });
    await cluster.clock.advance(200);
    assert.equal(cluster.tasks('old').length, 0);
  });

  it('runs a one-off task beside the service and forgets it when asked to', async () => {
    await start(({ oneOff }) => (oneOff ? { state: 'complete', exitCode: 0 } : { state: 'running' }));
    await cluster.apply(project([serviceSpec('web')]));
    const { taskId } = await cluster.control.runTask(
      { project: 'app', service: 'web', name: 'app-web-run-1', spec: taskSpec(), ports: [], autoRemove: true },
      new AbortController().signal,
    );
    await cluster.clock.advance(300);
    assert.deepEqual(
      cluster
        .tasks('web')
        .map(({ id }) => id)
        .includes(taskId as never),
      false,
    );
    assert.equal(cluster.tasks('web').length, 1);
  });

  it('makes a project known with the first task that is run in it, and changes nothing of what runs', async () => {
    await start();
    const run = (spec: ServiceSpec) =>
      cluster.control.runTask(
        {
          project: 'app',
          service: 'web',
          name: '',
          spec: taskSpec(),
          ports: [],
          autoRemove: false,
          apply: {
            project: project([spec]),
            dryRun: false,
            removeOrphans: false,
            forceRecreate: [],
            onlyServices: ['web'],
            noRecreate: true,
            noStart: true,
          },
        },
        new AbortController().signal,
      );
    const { taskId } = await run(serviceSpec('web'));
    await cluster.clock.advance(300);
    const [task, ...others] = cluster.tasks('web');
    assert.equal(others.length, 0, 'the service itself is not started');
    assert.equal(task?.id, taskId);
    assert.match(task?.name ?? '', /^app-web-run-[0-9a-f]{12}$/);

    await cluster.apply(project([serviceSpec('web')]));
    await cluster.clock.advance(300);
    const before = cluster.tasks('web').filter(({ oneOff }) => !oneOff);
    assert.equal(before.length, 1);
    await run(serviceSpec('web', { task: taskSpec({ limits: { memoryBytes: 2 ** 28 } }), replicas: 3 }));
    await cluster.clock.advance(300);
    assert.deepEqual(
      cluster.tasks('web').filter(({ oneOff }) => !oneOff),
      before,
    );
  });

  it('says why no node fits', async () => {
    await start();
    await cluster.apply(project([serviceSpec('web', { task: taskSpec({ reservations: { memoryBytes: 2 ** 40 } }) })]));
    assert.equal(cluster.tasks('web')[0]?.status.message, 'no suitable node: 1 of 1 lacks 1 TB of memory');
  });

  it('takes secrets and configs that are there already, and neither changes nor removes them', async () => {
    cluster = await fakeCluster();
    const file = (name: string) => ({ name, target: name, uid: 0, gid: 0, mode: 0o444 });
    const container = containerSpec({ secrets: [file('vault')], configs: [file('settings')] });
    const web = serviceSpec('web', { task: taskSpec({ container }) });
    const wanted = project([web], { externalSecrets: ['vault'], externalConfigs: ['settings'] });
    const make = (kind: 'secret' | 'config', name: string) =>
      cluster.control.createFile(
        { kind, spec: { name, composeName: name, labels: {}, data: Buffer.from(`${name}!`) } },
        new AbortController().signal,
      );
    await assert.rejects(cluster.apply(wanted), /external secret "vault" does not exist/);
    await make('secret', 'vault');
    await assert.rejects(cluster.apply(wanted), /external config "settings" does not exist/);
    assert.equal(cluster.tasks('web').length, 0, 'nothing was made');
    await make('config', 'settings');
    await cluster.apply(wanted);
    assert.equal(cluster.tasks('web')[0]?.status.state, 'running');
    const given = [...cluster.node.assignments.secrets.values()].map(({ spec }) => Buffer.from(spec.data).toString());
    assert.deepEqual(given, ['vault!']);
    const request = { name: 'app', services: [], removeVolumes: true, graceOverrideMs: -1 };
    await cluster.control.removeProject(request, new AbortController().signal);
    await cluster.clock.advance(1000);
    const left = cluster.store.view((tx) => [...tx.list('secret'), ...tx.list('config'), ...tx.list('service')]);
    assert.deepEqual(
      left.map(({ spec }) => spec.name),
      ['vault', 'settings'],
    );
  });
});

import assert from 'node:assert/strict';
import type { ServiceSpec, UpdateConfig } from '../../proto/types/index.ts';
import { isLive } from '../../manager/model/task-state.ts';
import { configSpec, project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster } from '../fakes/cluster.ts';

const signal = new AbortController().signal;
const author = { user: 'ann', command: 'stack deploy' };

/** Tasks of image "bad" end at once. */
const start = (): Promise<FakeCluster> =>
  fakeCluster(({ spec }) =>
    spec.container.image === 'bad' ? { state: 'failed', exitCode: 3 } : { state: 'running', health: 'none' },
  );
const web = (image: string, change: Partial<ServiceSpec> = {}): ServiceSpec => {
  const task = taskSpec();
  return serviceSpec('web', { task: { ...task, container: { ...task.container, image } }, ...change });
};
const rollbackAtOnce: UpdateConfig = { parallelism: 1, delayMs: 0, order: 'stop-first', failureAction: 'rollback' };

describe('revisions of a project', () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await start();
  });
  afterEach(() => cluster.close());
  const list = async () => (await cluster.control.listRevisions({ project: 'app', serviceId: '' }, signal)).revisions;
  const numbers = async () => (await list()).map(({ number }) => number);
  const image = (): string =>
    cluster
      .tasks('web')
      .filter(isLive)
      .map(({ spec }) => spec.container.image)
      .join(' ');
  const rollback = async (revision = 0, dryRun = false) => {
    const answer = await cluster.control.rollbackProject({ project: 'app', revision, dryRun, author }, signal);
    await cluster.clock.advance(100);
    return answer;
  };

  it('are made by every change, with who made it and what it changed', async () => {
    await cluster.apply(project([web('a')]), { author });
    await cluster.apply(project([web('b'), serviceSpec('db')]), { author });
    const [second, first] = await list();
    assert.deepEqual([second?.number, first?.number], [2, 1]);
    assert.deepEqual(second?.author, author);
    assert.deepEqual(
      second?.changes.map(({ name, action, fields }) => `${action} ${name} ${fields.join()}`),
      ['replace web task.container.image', 'create db '],
    );
    assert.deepEqual(
      second?.desired.services.map(({ name }) => name),
      ['app_web', 'app_db'],
    );
  });

  it('are not made by what changes nothing, nor by a dry run', async () => {
    await cluster.apply(project([web('a')]));
    await cluster.apply(project([web('a')]));
    await cluster.apply(project([web('b')]), { dryRun: true });
    assert.deepEqual(await numbers(), [1]);
    await cluster.apply(project([web('a')]), { forceRecreate: ['web'] });
    assert.deepEqual(await numbers(), [1]);
  });

  it('are kept up to the limit of the cluster', async () => {
    for (let version = 1; version <= 12; version++) await cluster.apply(project([web(`v${version}`)]));
    assert.deepEqual(await numbers(), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
  });

  it('are gone with the project', async () => {
    await cluster.apply(project([web('a')]));
    await cluster.control.removeProject(
      { name: 'app', removeVolumes: true, services: [], graceOverrideMs: -1 },
      signal,
    );
    await cluster.clock.advance(1000);
    assert.deepEqual(
      cluster.store.view((tx) => [tx.list('project').length, tx.list('revision').length]),
      [0, 0],
    );
  });

  it('are gone back to: services that came later go, those that went come again', async () => {
    await cluster.apply(project([web('a'), serviceSpec('db')]));
    await cluster.apply(project([web('b'), serviceSpec('api')]), { removeOrphans: true });
    await cluster.clock.advance(1000);
    const plan = await rollback(1, true);
    assert.deepEqual(
      plan.changes.filter(({ kind }) => kind === 'service').map(({ name, action }) => `${action} ${name}`),
      ['replace web', 'create db', 'remove api'],
    );
    assert.equal(image(), 'b');
    await rollback(1);
    await cluster.clock.advance(1000);
    assert.equal(image(), 'a');
    assert.equal(cluster.tasks('db').filter(isLive).length, 1);
    assert.equal(cluster.tasks('api').length, 0);
    assert.deepEqual(await numbers(), [3, 2, 1]);
  });

  it('without a number: to the one before, and back again', async () => {
    await cluster.apply(project([web('a')]));
    await cluster.apply(project([web('b')]));
    await rollback();
    assert.equal(image(), 'a');
    const status = cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]?.updateStatus);
    assert.equal(status?.state, 'rollback_started');
    await cluster.clock.advance(10_000);
    await rollback();
    assert.equal(image(), 'b');
  });

  it('that are not kept are refused, with those that are', async () => {
    await cluster.apply(project([web('a')]));
    await assert.rejects(rollback(), /rolling back "app": there is no revision before the present one/);
    await cluster.apply(project([web('b')]));
    await assert.rejects(rollback(7), /rolling back "app" to revision 7: it is not kept, those that are: 1, 2/);
  });

  it('bring configs back as they were, secrets as they are', async () => {
    const of = (text: string) => ({
      ...project([web('a')]),
      configs: [configSpec('conf', text)],
      secrets: [configSpec('key', text)],
    });
    const bytes = (table: 'secret' | 'config', name: string): string =>
      Buffer.from(cluster.store.view((tx) => tx.find(table, 'name', name)[0]?.spec.data) ?? []).toString();
    await cluster.apply(of('one'));
    await cluster.apply(of('two'));
    await rollback(1);
    assert.equal(bytes('config', 'app_conf'), 'one');
    assert.equal(bytes('secret', 'app_key'), 'two');
    const kept = cluster.store.view((tx) => tx.list('revision').flatMap(({ desired }) => desired.secrets));
    assert.ok(
      kept.every(({ data }) => data.length === 0),
      'no revision keeps a secret',
    );
  });

  it('tell which services have departed from the newest: their update was rolled back', async () => {
    await cluster.apply(project([web('a', { update: rollbackAtOnce })]));
    await cluster.apply(project([web('bad', { update: rollbackAtOnce })]));
    await cluster.clock.advance(1000);
    assert.equal(image(), 'a');
    const { departed } = await cluster.control.listRevisions({ project: 'app', serviceId: '' }, signal);
    assert.deepEqual(departed, ['web']);
  });

  it('are made by a change of a single service, too', async () => {
    await cluster.apply(project([web('a')]));
    const service = cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]);
    assert.ok(service);
    await cluster.control.updateService(
      { serviceId: service.id, version: service.meta.version, spec: { ...service.spec, replicas: 2 } },
      signal,
    );
    await cluster.clock.advance(100);
    assert.equal(cluster.tasks('web').filter(isLive).length, 2);
    assert.deepEqual(await numbers(), [2, 1]);
  });
});

describe('a service of no project', () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await start();
  });
  afterEach(() => cluster.close());
  const spec = (image: string, change: Partial<ServiceSpec> = {}): ServiceSpec => {
    const base = web(image, change);
    const task = { ...base.task, networks: [{ network: 'bridge', aliases: [], ipv4Address: '' }] };
    return { ...base, name: 'web', task };
  };
  const service = () => {
    const found = cluster.store.view((tx) => tx.find('service', 'name', 'web')[0]);
    assert.ok(found);
    return found;
  };
  const live = () =>
    cluster.store.view((tx) => tx.list('task')).filter((task) => task.serviceId === service().id && isLive(task));
  const images = (): string =>
    live()
      .map((task) => task.spec.container.image)
      .join(' ');
  const create = async (image: string, change: Partial<ServiceSpec> = {}): Promise<void> => {
    await cluster.control.createService({ spec: spec(image, change), author }, signal);
    await cluster.clock.advance(100);
  };
  const update = async (change: Partial<ServiceSpec>, version = service().meta.version) => {
    const { id } = service();
    const answer = await cluster.control.updateService(
      { serviceId: id, version, spec: { ...service().spec, ...change } },
      signal,
    );
    await cluster.clock.advance(100);
    return answer;
  };
  const rollback = async () => {
    const { id, meta } = service();
    const answer = await cluster.control.rollbackService({ serviceId: id, version: meta.version }, signal);
    await cluster.clock.advance(100);
    return answer;
  };

  it('runs, named and labelled as Swarm does, and belongs to nobody', async () => {
    await create('a');
    const [task] = live();
    assert.equal(task?.name, 'web.1');
    assert.equal(task.projectId, '');
    assert.ok(!Object.keys(task.spec.container.labels).some((label) => label.startsWith('com.docker.compose')));
    assert.equal(task.addresses.length, 1);
  });

  it('has a name that nobody else has, and that can be one', async () => {
    await create('a');
    await assert.rejects(create('b'), /creating service "web": a service of that name exists/);
    await assert.rejects(
      cluster.control.createService({ spec: { ...spec('a'), name: 'a.b' } }, signal),
      /creating service "a.b": the name must be/,
    );
    await cluster.control.createService({ spec: { ...spec('a'), name: 'app_db' } }, signal);
    await assert.rejects(
      cluster.apply(project([serviceSpec('db')])),
      /making service "app_db": a service of no project/,
    );
  });

  it('refuses what does not exist', async () => {
    const task = { ...spec('a').task, networks: [{ network: 'nowhere', aliases: [], ipv4Address: '' }] };
    await assert.rejects(
      create('a', {}).then(() => update({ task })),
      /network "nowhere" is not defined/,
    );
  });

  it('is updated from the version that was read, or not at all', async () => {
    await create('a');
    const stale = service().meta.version;
    assert.deepEqual((await update({ replicas: 2 })).fields, ['replicas']);
    assert.equal(live().length, 2);
    await assert.rejects(update({ replicas: 3 }, stale), /changing service "web": it has changed meanwhile/);
  });

  it('goes back to what it was before, and forth', async () => {
    await create('a', { replicas: 3 });
    await update({ replicas: 1 });
    const { task } = service().spec;
    await update({ task: { ...task, container: { ...task.container, image: 'b' } } });
    assert.equal(images(), 'b');
    await rollback();
    await cluster.clock.advance(10_000);
    assert.equal(images(), 'a');
    assert.equal(service().updateStatus?.state, 'rollback_completed');
    await rollback();
    await cluster.clock.advance(10_000);
    assert.equal(images(), 'b');
  });

  it('goes back over an update that was rolled back by itself', async () => {
    await create('a', { update: rollbackAtOnce });
    await update({ replicas: 2 });
    const { task } = service().spec;
    await update({ task: { ...task, container: { ...task.container, image: 'bad' } } });
    await cluster.clock.advance(20_000);
    assert.equal(images(), 'a a');
    await rollback();
    assert.equal(images(), 'a');
  });

  it('keeps the network and the secret of a project that it uses, when that is taken down', async () => {
    await cluster.apply({ ...project([serviceSpec('db')]), secrets: [configSpec('key', 'x')] });
    const base = spec('a').task;
    const secrets = [{ name: 'app_key', target: '/k', uid: 0, gid: 0, mode: 0o400 }];
    const task = {
      ...base,
      networks: [{ network: 'app_default', aliases: [], ipv4Address: '' }],
      container: { ...base.container, secrets },
    };
    await create('a', { task });
    await update({ task });
    const down = { name: 'app', removeVolumes: false, services: [], graceOverrideMs: -1 };
    const answer = await cluster.control.removeProject(down, signal);
    assert.deepEqual(answer.keptNetworks, ['app_default']);
    assert.deepEqual(answer.warnings, ['network "app_default" is in use by service "web": it stays']);
    await cluster.clock.advance(1000);
    const left = () =>
      cluster.store.view((tx) => [tx.list('secret').length, tx.find('network', 'name', 'app_default').length]);
    assert.deepEqual(left(), [1, 1]);
    await cluster.control.removeService({ serviceId: service().id }, signal);
    await cluster.clock.advance(1000);
    await cluster.control.removeProject(down, signal);
    await cluster.clock.advance(1000);
    assert.deepEqual(left(), [0, 0]);
    assert.equal(
      cluster.store.view((tx) => tx.list('project').length),
      0,
    );
  });

  it('has a secret of nobody, which cannot be removed meanwhile, and stays when projects come and go', async () => {
    const data = new Uint8Array([1, 2]);
    const make = (name: string, bytes = data) =>
      cluster.control.createFile(
        { kind: 'secret', spec: { name, composeName: name, labels: {}, data: bytes } },
        signal,
      );
    const { id } = await make('key');
    await assert.rejects(make('key'), /creating secret "key": one of that name exists/);
    await assert.rejects(make('none', new Uint8Array()), /storing secret "none": it has 0 bytes, expected 1 to/);
    const { files } = await cluster.control.listFiles({ kind: 'secret' }, signal);
    assert.deepEqual(
      files.map(({ spec: { name, data: shown } }) => [name, shown.length]),
      [['key', 0]],
    );
    const base = spec('a').task;
    const secrets = [{ name: 'key', target: '/k', uid: 0, gid: 0, mode: 0o400 }];
    await create('a', { task: base });
    await update({ task: { ...base, container: { ...base.container, secrets } } });
    const remove = () => cluster.control.removeFile({ kind: 'secret', id }, signal);
    await assert.rejects(remove(), /secret 'key' is in use by the following service: web/);
    await cluster.apply(project([serviceSpec('db')]));
    const down = { name: 'app', removeVolumes: true, services: [], graceOverrideMs: -1 };
    await cluster.control.removeProject(down, signal);
    await cluster.control.removeService({ serviceId: service().id }, signal);
    await cluster.clock.advance(1000);
    assert.equal(
      cluster.store.view((tx) => tx.list('secret').length),
      1,
    );
    await remove();
    assert.equal(
      cluster.store.view((tx) => tx.list('secret').length),
      0,
    );
  });

  it('without an earlier version cannot go back', async () => {
    await create('a');
    await assert.rejects(rollback(), /rolling back service "web": it does not have a previous specification/);
  });

  it('is removed with its tasks and its history', async () => {
    await create('a');
    await cluster.control.removeService({ serviceId: service().id }, signal);
    await cluster.clock.advance(1000);
    assert.deepEqual(
      cluster.store.view((tx) => [tx.list('service').length, tx.list('task').length, tx.list('revision').length]),
      [0, 0, 0],
    );
  });
});

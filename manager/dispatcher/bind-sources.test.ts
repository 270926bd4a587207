import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { Service, Task } from '../../proto/types/index.ts';
import { A_DESCRIPTION } from '../../test/builders/ca-cluster.ts';
import { service, task } from '../../test/builders/objects.ts';
import { taskSpec } from '../../test/builders/specs.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../store/index.ts';
import { createDispatcher } from './server.ts';

const mounting = (...sources: readonly string[]) =>
  taskSpec({
    container: {
      ...taskSpec().container,
      mounts: sources.map((source) => ({
        type: 'bind',
        source,
        target: '/data',
        readOnly: false,
        propagation: 'rprivate',
        createHostPath: false,
      })),
    },
  });

describe('paths that nodes are asked for', () => {
  const nodeId = 'one' as NodeId;
  const clock = new VirtualClock();
  const start = async () => {
    const store = memoryStore(clock);
    const dispatcher = createDispatcher({ store, clock, random: seededRandom(1), logger: silentLogger });
    const { handlers } = dispatcher;
    const life = new AbortController();
    const told: (readonly string[] | undefined)[] = [];
    let sessionId = '';
    const listening = (async () => {
      const bindSources = { present: ['/etc'], missing: ['/never/asked'] };
      for await (const message of handlers.session({ nodeId, description: A_DESCRIPTION, bindSources }, life.signal)) {
        sessionId = message.sessionId;
        told.push(message.bindSources);
      }
    })().catch(() => undefined);
    await settle();
    const end = async (): Promise<void> => {
      life.abort();
      dispatcher.close();
      await settle();
      await listening;
    };
    const beat = (present: string[], missing: string[]) =>
      handlers.heartbeat({ sessionId, nodeId, bindSources: { present, missing } }, life.signal);
    const report = (of: Task, change: Partial<Task['status']>) =>
      handlers.updateTaskStatus(
        {
          sessionId,
          nodeId,
          updates: [{ taskId: of.id, status: { ...of.status, ...change } }],
          removedNetworks: [],
          removedVolumes: [],
        },
        life.signal,
      );
    return { store, told, beat, report, end, said: () => store.view((tx) => tx.get('node', nodeId)?.bindSources) };
  };
  const put = (of: Service) => async (store: Awaited<ReturnType<typeof start>>['store']) => {
    await store.update((tx) => {
      const known = tx.get('service', of.id);
      if (known === undefined) tx.create('service', of);
      else tx.update('service', { ...of, meta: known.meta });
    });
    await settle();
  };

  it('are those of all services, told again when they are others', async () => {
    const { store, told, end } = await start();
    const [web, db] = ['web', 'db'].map((name) => service(name, {}, { task: mounting(`/srv/${name}`, '/etc') }));
    assert.ok(web !== undefined && db !== undefined);
    await put(web)(store);
    await put(db)(store);
    await put({ ...db, specVersion: 7 })(store);
    await put(service('home', {}, { task: mounting('/home/{{.Node.Hostname}}') }))(store);
    await put({ ...web, pendingDelete: true })(store);
    assert.deepEqual(told, [[], ['/etc', '/srv/web'], ['/etc', '/srv/db', '/srv/web'], ['/etc', '/srv/db']]);
    await end();
  });

  it('are those of a container of "run" as long as it has no node', async () => {
    const { store, told, end } = await start();
    const once: Task = { ...task(service('web'), 1, {}, { nodeId: '', oneOff: true }), spec: mounting('/tmp/in') };
    await store.update((tx) => tx.create('task', once));
    await settle();
    await store.update((tx) => {
      const known = tx.get('task', once.id);
      if (known !== undefined) tx.update('task', { ...known, nodeId });
    });
    await settle();
    assert.deepEqual(told, [[], ['/tmp/in'], []]);
    await end();
  });

  it('are kept as the node says, and nothing else that it says', async () => {
    const { store, beat, end, said } = await start();
    assert.deepEqual(said(), { present: [], missing: [], former: [] });
    await put(service('web', {}, { task: mounting('/srv/web', '/etc') }))(store);
    await beat(['/etc', '/never/asked'], ['/srv/web']);
    assert.deepEqual(said(), { present: ['/etc'], missing: ['/srv/web'], former: [] });
    const { version } = store.view((tx) => tx.get('node', nodeId)?.meta) ?? {};
    await beat(['/etc'], ['/srv/web']);
    assert.equal(
      store.view((tx) => tx.get('node', nodeId)?.meta.version),
      version,
      'nothing is written twice',
    );
    await end();
  });

  it('are there as soon as a container has been made with them', async () => {
    const { store, beat, end, said, report } = await start();
    const web = service('web', {}, { task: mounting('/srv/web', '/etc') });
    await put(web)(store);
    await beat(['/etc'], ['/srv/web']);
    const made: Task = { ...task(web, 1, { state: 'assigned', containerId: '' }, { nodeId }), spec: web.spec.task };
    await store.update((tx) => tx.create('task', made));
    await report(made, { state: 'preparing' });
    assert.deepEqual(said(), { present: ['/etc'], missing: ['/srv/web'], former: [] });
    await report(made, { state: 'ready', containerId: 'c1' });
    assert.deepEqual(said(), { former: [], present: ['/etc', '/srv/web'], missing: [] });
    // What is seen later counts again.
    await beat(['/etc'], ['/srv/web']);
    await report(made, { state: 'running', containerId: 'c1' });
    assert.deepEqual(said(), { present: ['/etc'], missing: ['/srv/web'], former: [] });
    await end();
  });

  it('are remembered of a node when nobody asks any more, until it says otherwise', async () => {
    const { store, beat, end, said } = await start();
    const web = service('web', {}, { task: mounting('/srv/web') });
    await put(web)(store);
    await beat(['/srv/web'], []);
    await put({ ...web, pendingDelete: true })(store);
    await beat([], []);
    assert.deepEqual(said(), { present: [], missing: [], former: ['/srv/web'] });
    await put(web)(store);
    assert.deepEqual(said()?.former, ['/srv/web'], 'it has not said so yet');
    await beat([], ['/srv/web']);
    assert.deepEqual(said(), { present: [], missing: ['/srv/web'], former: [] });
    await end();
  });
});

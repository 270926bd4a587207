import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { PublishedPort, ServiceSpec } from '../../proto/types/index.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster } from '../fakes/cluster.ts';

const WEB: PublishedPort = { target: 80, published: 8000, protocol: 'tcp', mode: 'ingress', hostIp: '' };
const RANGE: PublishedPort = { ...WEB, publishedEnd: 8001 };
const HOST: PublishedPort = { ...RANGE, mode: 'host' };

describe('published ports', () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await fakeCluster();
  });
  afterEach(() => cluster.close());

  const web = (port: PublishedPort, change: Partial<ServiceSpec> = {}): ServiceSpec =>
    serviceSpec('web', { ports: [port], ...change });
  /** A project of its own, on the network of "app". */
  const other = (name: string, ...ports: readonly PublishedPort[]) =>
    project([serviceSpec('web', { name: `${name}_web`, ports })], {
      name,
      networks: [],
      externalNetworks: ['app_default'],
    });
  const portsOf = (service: string): readonly number[] =>
    cluster.store.view((tx) =>
      (tx.find('service', 'name', service)[0]?.ports ?? []).map(({ published, publishedEnd }) =>
        publishedEnd === undefined ? published : NaN,
      ),
    );
  const hostPorts = (): readonly string[] =>
    cluster
      .tasks('web')
      .filter(({ desiredState }) => desiredState === 'running')
      .map(({ nodeId, ports }) => `${nodeId}:${ports.map(({ published }) => published).join()}`)
      .sort();
  const refused = (code: string, message: string) => (error: unknown) =>
    isTsswarmError(error, code as never) && error.message === message;
  const newer = taskSpec({ forceUpdate: 1 });

  it('of one node are told to each container', async () => {
    const node = await cluster.join('two');
    await cluster.apply(project([web({ ...WEB, mode: 'host' }, { replicas: 2 })]));
    assert.deepEqual(hostPorts(), ['node-one:8000', `${node.nodeId}:8000`].sort());
    await cluster.apply(project([web({ ...WEB, published: 8005, mode: 'host' }, { replicas: 2 })]));
    await cluster.clock.advance(5000);
    assert.deepEqual(hostPorts(), ['node-one:8005', `${node.nodeId}:8005`].sort());
  });

  it('are chosen out of a range, and stay over updates', async () => {
    await cluster.apply(project([web(RANGE)]));
    await cluster.apply(other('shop', RANGE));
    assert.deepEqual([portsOf('app_web'), portsOf('shop_web')], [[8000], [8001]]);
    const request = { name: 'app', services: [], removeVolumes: false, graceOverrideMs: -1 };
    await cluster.control.removeProject(request, new AbortController().signal);
    await cluster.clock.advance(20_000);
    await cluster.apply(other('shop', RANGE, { ...WEB, published: 9000, target: 90 }));
    assert.deepEqual(portsOf('shop_web'), [8001, 9000]);
    await cluster.apply(other('shop', { ...RANGE, publishedEnd: 8000 }));
    assert.deepEqual(portsOf('shop_web'), [8000]);
  });

  it('leave those to others that these name in the same project, whatever the order', async () => {
    const [first, second] = [web(RANGE), serviceSpec('named', { ports: [WEB] })];
    await cluster.apply(project([first, second]));
    assert.deepEqual([portsOf('app_web'), portsOf('app_named')], [[8001], [8000]]);
  });

  it('are refused with the names of who has them when none of a range is free', async () => {
    await cluster.apply(project([web(RANGE)]));
    await cluster.apply(other('shop', RANGE));
    await assert.rejects(
      cluster.apply(other('late', RANGE)),
      refused(
        'PORT_IN_USE',
        'publishing one of the ports 8000-8001/tcp for service "web": none is free, service "web" of project "app", service "web" of project "shop" have them',
      ),
    );
    await assert.rejects(
      cluster.apply(other('late', { ...WEB, published: 8001 })),
      refused(
        'PORT_IN_USE',
        'publishing port 8001/tcp for service "web": service "web" of project "shop" has it already',
      ),
    );
  });

  it('of one node are chosen there, for each container, past what every node answers on', async () => {
    const node = await cluster.join('two');
    await cluster.apply(project([]));
    await cluster.apply(other('shop', WEB));
    await cluster.apply(project([web({ ...HOST, publishedEnd: 8002 }, { replicas: 4 })]));
    const [one, two] = ['node-one', node.nodeId].map((id) => [`${id}:8001`, `${id}:8002`]);
    assert.deepEqual(hostPorts(), [...(one ?? []), ...(two ?? [])].sort());
    await assert.rejects(
      cluster.apply(other('late', { ...WEB, published: 8002 })),
      refused(
        'PORT_IN_USE',
        'publishing port 8002/tcp for service "web": service "web" of project "app" has it already',
      ),
    );
    await cluster.apply(project([web({ ...HOST, publishedEnd: 8002 }, { replicas: 4, task: newer })]));
    await cluster.clock.advance(20_000);
    assert.deepEqual(hostPorts(), [...(one ?? []), ...(two ?? [])].sort());
  });

  it('of one node are refused to more replicas than there are, and waited for where others have them', async () => {
    await assert.rejects(
      cluster.apply(project([web(HOST, { replicas: 3 })])),
      refused(
        'INVALID_INPUT',
        'applying service "web": 2 ports in mode host allow 2 replicas per node: 3 are wanted, there are 1 nodes',
      ),
    );
    await cluster.apply(project([web(HOST, { replicas: 2 }), serviceSpec('second', { ports: [HOST] })]));
    assert.equal(
      cluster.tasks('second')[0]?.status.message,
      'no suitable node: 1 of 1 has none of the ports 8000-8001/tcp free: in use by app-web',
    );
    await cluster.apply(project([web(HOST), serviceSpec('second', { ports: [HOST] })]));
    await cluster.clock.advance(20_000);
    assert.equal(cluster.tasks('second')[0]?.ports[0]?.published, 8001);
  });
});

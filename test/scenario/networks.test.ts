import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Network, NetworkSpec } from '../../proto/types/index.ts';
import { network, T0 } from '../builders/objects.ts';
import { networkSpec, project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster } from '../fakes/cluster.ts';

const signal = new AbortController().signal;

describe('networks of no project', () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = await fakeCluster(({ name }) =>
      name === 'over' ? { state: 'complete', exitCode: 0 } : { state: 'running', health: 'none' },
    );
  });
  afterEach(() => cluster.close());
  const create = async (name: string, change: Partial<NetworkSpec> = {}): Promise<string> => {
    const spec = networkSpec(name, { name, driver: '', ...change });
    const { id } = await cluster.control.createNetwork({ spec }, signal);
    await cluster.clock.advance(100);
    return id;
  };
  const remove = async (id: string): Promise<void> => {
    await cluster.control.removeNetwork({ id }, signal);
    await cluster.clock.advance(100);
  };
  const find = (name: string): Network | undefined => cluster.store.view((tx) => tx.find('network', 'name', name)[0]);
  const refuses = (work: Promise<unknown>, code: ErrorCode, reason: RegExp): Promise<void> =>
    assert.rejects(work, (error) => {
      assert.ok(isTsswarmError(error, code), String(error));
      assert.match(error.message, reason);
      return true;
    });
  const onLan = serviceSpec('web', {
    task: { ...taskSpec(), networks: [{ network: 'lan', aliases: [], ipv4Address: '' }] },
  });

  it('get a subnet, or the one that was asked for', async () => {
    await create('lan');
    assert.match(find('lan')?.subnet ?? '', /^10\.210\.\d+\.0\/24$/);
    assert.equal(find('lan')?.spec.driver, 'overlay');
    await create('own', { subnet: '10.9.0.0/24', gateway: '10.9.0.254', ipRange: '10.9.0.128/26' });
    assert.equal(find('own')?.gateway, '10.9.0.254');
  });

  it('that cannot be are refused, with what is wrong', async () => {
    await create('lan', { subnet: '10.9.0.0/24' });
    await refuses(create('lan'), 'ALREADY_EXISTS', /creating network "lan": a network of that name exists/);
    await refuses(create('host'), 'INVALID_INPUT', /the name stands for something else/);
    await refuses(create('a b'), 'INVALID_INPUT', /the name must be/);
    await refuses(create('b', { driver: 'weave' }), 'NOT_SUPPORTED', /the driver "weave" is not supported, expected /);
    await refuses(create('b', { options: { colour: 'red' } }), 'NOT_SUPPORTED', /the option "colour" is not supported/);
    const mtu = { 'com.docker.network.driver.mtu': '12' };
    await refuses(create('b', { options: mtu }), 'NOT_SUPPORTED', /is "12", expected 68 to 65535/);
    await refuses(create('b', { subnet: '10.9.0.128/25' }), 'IN_USE', /overlaps that of network "lan"/);
    await refuses(create('b', { subnet: '10.9.1.0/31' }), 'INVALID_INPUT', /expected one such as 10\.1\.2\.0\/24/);
    await refuses(
      create('b', { subnet: '10.9.1.0/24', gateway: '10.9.2.1' }),
      'INVALID_INPUT',
      /the gateway is "10\.9\.2\.1", expected an address of the subnet/,
    );
    await refuses(create('b', { subnet: '10.9.1.0/24', ipRange: '10.9.0.0/23' }), 'INVALID_INPUT', /the range/);
    await refuses(create('b', { ipRange: '10.9.0.0/23' }), 'INVALID_INPUT', /the range of addresses needs a subnet/);
    const six = (subnet: string) => ({ ipv6: { subnet, gateway: '', ipRange: '' } });
    await refuses(create('b', six('10.3.0.0/24')), 'INVALID_INPUT', /expected one such as fd00/);
    await create('six', six('fd00:9::/64'));
    await refuses(create('b', six('fd00:9:0:0:1::/80')), 'IN_USE', /overlaps that of network "six"/);
    const aux = { auxiliaryAddresses: { printer: '10.8.0.9' } };
    await refuses(create('b', { subnet: '10.7.0.0/24', ...aux }), 'INVALID_INPUT', /has "10\.8\.0\.9" for "printer"/);
    assert.equal(find('b'), undefined);
  });

  it('with IPv6 give services and tasks addresses of both kinds', async () => {
    await create('lan', { subnet: '10.9.0.0/24', ipv6: { subnet: 'fd00:9::/64', gateway: '', ipRange: '' } });
    await cluster.apply(project([onLan], { networks: [], externalNetworks: ['lan'] }));
    assert.deepEqual(find('lan')?.ipv6, { subnet: 'fd00:9::/64', gateway: 'fd00:9::1' });
    const place = (address: string | undefined): number => parseInt(address?.split(/[.:]/).at(-1) ?? '', 10);
    const [address] = cluster.tasks('web')[0]?.addresses ?? [];
    assert.equal(address?.ipv6, `fd00:9::${place(address?.ipv4).toString(16)}`);
    const virtual = cluster.store.view((tx) => tx.list('service')[0]?.virtualIps[0]);
    assert.equal(virtual?.ipv6, `fd00:9::${place(virtual?.ipv4).toString(16)}`);
  });

  it('give an address that a user fixed to one container only', async () => {
    await create('lan', { subnet: '10.9.0.0/24' });
    const apply = (change: object, spec: object = {}): Promise<unknown> => {
      const networks = [{ network: 'lan', aliases: [], ipv4Address: '10.9.0.7', ...change }];
      const service = serviceSpec('web', { task: { ...taskSpec(), networks }, ...spec });
      return cluster.apply(project([service], { networks: [], externalNetworks: ['lan'] }));
    };
    await refuses(apply({}, { replicas: 2 }), 'INVALID_INPUT', /10\.9\.0\.7 on network "lan", and 2 replicas: one can/);
    await refuses(apply({}, { mode: 'global' }), 'INVALID_INPUT', /one container on each node: one can/);
    const update = { parallelism: 1, delayMs: 0, order: 'start-first' };
    await refuses(apply({}, { update }), 'INVALID_INPUT', /cannot start before the old one gives it up/);
    await refuses(apply({ macAddress: 'x' }), 'INVALID_INPUT', /hardware address on network "lan" is "x", expected/);
    await apply({});
    assert.equal(cluster.tasks('web')[0]?.addresses[0]?.ipv4, '10.9.0.7');
  });

  it('are found by projects, and stay when these go', async () => {
    await refuses(
      cluster.apply(project([onLan], { networks: [], externalNetworks: ['lan'] })),
      'NOT_FOUND',
      /external network "lan" does not exist/,
    );
    const id = await create('lan');
    await cluster.apply(project([onLan], { networks: [], externalNetworks: ['lan'] }));
    assert.equal(cluster.tasks('web')[0]?.addresses[0]?.networkId, id);
    const request = { name: 'app', removeVolumes: false, services: [], graceOverrideMs: -1 };
    await cluster.control.removeProject(request, signal);
    await cluster.clock.advance(1000);
    assert.equal(cluster.tasks('web').length, 0);
    assert.equal(find('lan')?.pendingDelete, false);
  });

  it('are not removed while they are used, and the users are named', async () => {
    const id = await create('lan');
    await cluster.apply(project([onLan], { networks: [], externalNetworks: ['lan'] }));
    await refuses(remove(id), 'IN_USE', /removing network "lan": it is used by service "app_web"/);
    await cluster.control.runTask(
      { project: 'app', service: 'web', name: 'once', spec: onLan.task, ports: [], autoRemove: false },
      signal,
    );
    await cluster.clock.advance(100);
    await refuses(remove(id), 'IN_USE', /it is used by service "app_web", container "once"/);
    const request = { name: 'app', removeVolumes: false, services: [], graceOverrideMs: -1 };
    await cluster.control.removeProject(request, signal);
    await cluster.clock.advance(1000);
    await remove(id);
    assert.equal(find('lan'), undefined);
  });

  it('are removed at once when nothing was ever on them, else when a node has removed its part', async () => {
    await remove(await create('lan'));
    assert.equal(find('lan'), undefined);
    const id = await create('lan');
    await cluster.apply(project([onLan], { networks: [], externalNetworks: ['lan'] }));
    const run = { project: 'app', service: 'web', name: 'over', spec: onLan.task, ports: [], autoRemove: false };
    await cluster.control.runTask(run, signal);
    await cluster.apply(project([serviceSpec('web')]));
    const seen: (boolean | undefined)[] = [];
    const { watch } = cluster.store.viewAndWatch(() => undefined);
    const watching = (async () => {
      for await (const { changes } of watch)
        for (const change of changes) if (change.table === 'network') seen.push(change.after?.pendingDelete);
    })();
    await remove(id);
    watch.close();
    await watching;
    // First it is only going.
    assert.deepEqual(seen, [true, undefined]);
    // One of the same name is made when the former one is gone.
    const again = await create('lan');
    assert.notEqual(again, id);
    await refuses(remove('nix'), 'NOT_FOUND', /removing network "nix": no such network/);
  });

  it('of projects are removed, too, and made again by the next "up"', async () => {
    const before = await cluster.store.update((tx) => {
      tx.create('network', {
        ...network('idle', { projectId: '' }),
        meta: { version: 0, createdAt: T0, updatedAt: T0 },
      });
      return tx.find('network', 'name', 'app_idle')[0];
    });
    await remove(before?.id ?? '');
    await cluster.apply(project([serviceSpec('web')], { networks: [networkSpec('default'), networkSpec('idle')] }));
    assert.notEqual(find('app_idle')?.id, before?.id);
  });
});

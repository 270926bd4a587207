import assert from 'node:assert/strict';
import type { NetworkId } from '../../base/ids.ts';
import type { Service, ServiceSpec, VirtualIp } from '../../proto/types/index.ts';
import { T0, network, service, task } from '../../test/builders/objects.ts';
import { networkSpec, serviceSpec, taskSpec } from '../../test/builders/specs.ts';
import { allocate } from './allocate.ts';
import { allocateVirtualIps } from './virtual-ips.ts';

const NET = network('shop', { id: 'net' as NetworkId });
const on = (name: string, spec: Partial<ServiceSpec> = {}, change: Partial<Service> = {}): Service => {
  const { task: base } = serviceSpec(name);
  const networks = [{ network: 'app_shop', aliases: [], ipv4Address: '' }];
  return service(name, change, { task: { ...base, networks }, ...spec });
};
const given = (services: readonly Service[], networks = [NET], tasks: Parameters<typeof allocate>[0]['tasks'] = []) =>
  allocateVirtualIps({ services, networks, tasks });
const vip = (ipv4: string): VirtualIp => ({ networkId: NET.id, ipv4 });

describe('virtual addresses', () => {
  it('are one for each service on a network, from the end of its range', () => {
    const found = given([on('web'), on('db')]);
    assert.deepEqual([...found.values()], [[vip('10.128.0.254')], [vip('10.128.0.253')]]);
  });

  it('are kept, whatever changes beside the networks of the service', () => {
    const web = on('web', { replicas: 9, affinity: 'client' }, { virtualIps: [vip('10.128.0.77')] });
    assert.equal(given([web, on('db', {}, { virtualIps: [vip('10.128.0.254')] })]).size, 0);
  });

  it('are given up with the mode, and none are for jobs and services of the node’s network', () => {
    const had = { virtualIps: [vip('10.128.0.254')] };
    const isolated = { task: { ...taskSpec(on('host').spec.task), networkMode: 'host' as const } };
    const found = given([
      on('a', { endpointMode: 'dnsrr' }, had),
      on('b', { mode: 'replicated-job' }),
      on('c', isolated),
    ]);
    assert.deepEqual([...found], [['service-a', []]]);
  });

  it('stay on a network as long as tasks of the service are there', () => {
    const moved = on('web', { task: serviceSpec('web').task }, { virtualIps: [vip('10.128.0.254')] });
    const old = task(moved, 1, {}, { addresses: [{ networkId: NET.id, ipv4: '10.128.0.2' }] });
    assert.equal(given([moved], [NET], [old]).size, 0);
    assert.deepEqual([...given([moved]).values()], [[]]);
  });

  it('yield to addresses that somebody has fixed, and to the gateway', () => {
    const { task: base } = serviceSpec('db');
    const fixed = on('db', {
      task: { ...base, networks: [{ network: 'app_shop', aliases: [], ipv4Address: '10.128.0.254' }] },
    });
    const found = given([on('web', {}, { virtualIps: [vip('10.128.0.254')] }), fixed]);
    assert.ok([...found.values()].flat().every(({ ipv4 }) => ipv4 !== '10.128.0.254'));
    const last = network('n', { id: NET.id, gateway: '10.128.0.254', spec: networkSpec('shop') });
    assert.deepEqual([...given([on('web')], [last]).values()], [[vip('10.128.0.253')]]);
  });

  it('leave a small network to the tasks', () => {
    const small = { ...NET, subnet: '10.128.0.0/29' };
    const services = ['a', 'b', 'c', 'd'].map((name) => on(name));
    assert.equal(given(services, [small]).size, 0);
    assert.equal(given(services.slice(0, 2), [small]).size, 2);
  });

  it('are unique in the network, with the addresses of tasks, through many changes', () => {
    const names = Array.from({ length: 60 }, (_, index) => `s${index}`);
    let services: readonly Service[] = names.map((name) => on(name, { replicas: 2 }));
    let tasks = services.flatMap((one) => [1, 2].map((slot) => task(one, slot, { state: 'new' })));
    for (let round = 0; round < 3; round++) {
      const result = allocate({ cluster: undefined, networks: [NET], services, tasks }, T0);
      const changed = new Map(result.services.map((one) => [one.id, one]));
      const placed = new Map(result.tasks.map((one) => [one.id, one]));
      services = services.map((one) => changed.get(one.id) ?? one);
      tasks = tasks.map((one) => placed.get(one.id) ?? one);
      const all = [...services.flatMap((one) => one.virtualIps), ...tasks.flatMap((one) => one.addresses)];
      assert.equal(all.length, services.length + tasks.length);
      assert.equal(new Set(all.map(({ ipv4 }) => ipv4)).size, all.length, `round ${round}`);
      // The next round: a third of the services is taken away, as many come.
      const left = services.slice(20);
      const come = Array.from({ length: 20 }, (_, index) => on(`r${round}-${index}`, { replicas: 2 }));
      tasks = [
        ...tasks.filter((one) => left.some(({ id }) => id === one.serviceId)),
        ...come.flatMap((one) => [1, 2].map((slot) => task(one, slot, { state: 'new' }))),
      ];
      services = [...left, ...come];
    }
  });
});

import { deepEqual, equal } from 'node:assert/strict';
import { formatIpBytes, ipBytes } from '../../../base/ip-address.ts';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../../base/ids.ts';
import { seededRandom } from '../../../base/random.ts';
import type { NetworkEndpoint, ServiceAddress } from '../../../proto/types/index.ts';
import { Records } from './records.ts';

const NETWORKS = ['n1', 'n2'].map((id) => ({ id: id as NetworkId, name: `shop_${id}` }));
const NAMES = ['web', 'db', 'Api', 'web.shop', 'tasks.odd'];

/** What a name leads to, by looking through everything. */
function slowly(endpoints: Iterable<NetworkEndpoint>, services: Iterable<ServiceAddress>, id: string, name: string) {
  const bears = (text: string): boolean => text.toLowerCase() === name;
  const virtual = [...services].filter(({ networkId, names }) => networkId === id && names.some(bears));
  const all = [...endpoints].filter((one) => one.networkId === id && [one.name, ...one.aliases].some(bears));
  const direct = all.filter(({ serviceId }) => !virtual.some((service) => service.serviceId === serviceId));
  return [...virtual, ...direct].map(({ ipv4 }) => ipv4).sort();
}

describe('the names of a node', () => {
  it('are the same after any changes as if they had been told at once', () => {
    const random = seededRandom(2);
    const below = (n: number): number => Math.floor(random.next() * n);
    const some = (): string[] => NAMES.filter(() => random.next() < 0.4);
    const records = new Records();
    const endpoints = new Map<string, NetworkEndpoint>();
    const services = new Map<string, ServiceAddress>();
    for (let step = 0; step < 2000; step++) {
      const networkId = NETWORKS[below(2)]?.id as NetworkId;
      const serviceId = `s${below(3)}` as ServiceId;
      const taskId = `t${below(12)}` as TaskId;
      const ipv4 = `10.0.0.${below(20)}`;
      switch (below(5)) {
        case 0:
        case 1: {
          const endpoint = { taskId, serviceId, networkId, name: taskId, aliases: some(), ipv4, nodeId: 'n' as NodeId };
          endpoints.set(`${taskId}/${networkId}`, endpoint);
          records.change({ endpoints: [endpoint] });
          break;
        }
        case 2:
          endpoints.delete(`${taskId}/${networkId}`);
          records.change({ removedEndpoints: [`${taskId}/${networkId}`] });
          break;
        case 3: {
          const service = { serviceId, networkId, names: some(), ipv4 };
          services.set(`${serviceId}/${networkId}`, service);
          records.change({ services: [service] });
          break;
        }
        default:
          services.delete(`${serviceId}/${networkId}`);
          records.change({ removedServices: [`${serviceId}/${networkId}`] });
      }
      for (const network of NETWORKS)
        for (const name of [...NAMES.map((text) => text.toLowerCase()), taskId]) {
          const expected = slowly(endpoints.values(), services.values(), network.id, name);
          const found = records.find([network], name)?.addresses().ipv4.map(formatIpBytes).sort();
          deepEqual(found ?? [], expected, `${name} at step ${step}`);
        }
    }
  });

  it('are forgotten with the address when a task goes, but not when another has the address by then', () => {
    const records = new Records();
    const [network] = NETWORKS;
    const asked = network ? [network] : [];
    const one = { networkId: 'n1' as NetworkId, serviceId: 's' as ServiceId, nodeId: 'n' as NodeId, aliases: [] };
    records.change({ endpoints: [{ ...one, taskId: 'old' as TaskId, name: 'shop-web-1', ipv4: '10.0.0.5' }] });
    records.change({ endpoints: [{ ...one, taskId: 'new' as TaskId, name: 'shop-web-1', ipv4: '10.0.0.5' }] });
    records.change({ removedEndpoints: ['old/n1'] });
    equal(records.owner(asked, ipBytes('10.0.0.5')), 'shop-web-1.shop_n1');
    records.change({ removedEndpoints: ['new/n1'] });
    equal(records.owner(asked, ipBytes('10.0.0.5')), undefined);
    equal(records.find(asked, 'shop-web-1'), undefined);
  });

  it('begin anew when everything is told', () => {
    const records = new Records();
    const service = { serviceId: 's' as ServiceId, networkId: 'n1' as NetworkId, names: ['web'], ipv4: '10.0.0.9' };
    records.change({ services: [service] });
    records.change({ complete: true });
    equal(records.find(NETWORKS, 'web'), undefined);
    equal(records.owner(NETWORKS, ipBytes('10.0.0.9')), undefined);
  });
});

import assert from 'node:assert/strict';
import type { NetworkId, NodeId } from '../../base/ids.ts';
import type { NetworkEndpoint, Service, ServiceAddress, TaskStatus } from '../../proto/types/index.ts';
import { network, service, task } from '../../test/builders/objects.ts';
import { networkSpec } from '../../test/builders/specs.ts';
import { balancedAddresses } from './balanced.ts';
import type { BalancedAddress, BalancedView } from './balanced.ts';
import type { LocalTask } from './ports.ts';

const NET = 'net' as NetworkId;
const [HERE, THERE] = ['here', 'there'] as NodeId[];
const web = service('web');
const address = (of: Service): ServiceAddress => ({
  serviceId: of.id,
  networkId: NET,
  names: ['web'],
  ipv4: '10.1.0.254',
});
const at = (host: number) => ({ networkId: NET, ipv4: `10.1.0.${host}` });
const endpoint = (slot: number, nodeId = THERE): NetworkEndpoint => ({
  ...at(slot),
  taskId: task(web, slot).id,
  serviceId: web.id,
  name: `web-${slot}`,
  aliases: ['web'],
  nodeId: nodeId as NodeId,
});
const local = (slot: number, running: boolean, status: Partial<TaskStatus> = {}): LocalTask => {
  const own = task(web, slot, status, { addresses: [at(slot)] });
  return { task: own, status: own.status, running, addresses: own.addresses };
};
const view = (
  endpoints: readonly NetworkEndpoint[],
  tasks: readonly LocalTask[],
  driver = 'overlay',
): BalancedView => ({
  nodeId: HERE as NodeId,
  services: [address(web)],
  endpoints,
  networks: new Map([[NET, network('shop', { id: NET, spec: { ...networkSpec('shop'), driver } })]]),
  tasks,
});
const led = (...args: Parameters<typeof view>): readonly string[] =>
  balancedAddresses(view(...args), []).flatMap(({ endpoints }) => endpoints);

describe('who answers at a virtual address', () => {
  it('is who the manager says serves on other nodes', () => {
    assert.deepEqual(led([endpoint(3), endpoint(2)], []), ['10.1.0.2', '10.1.0.3']);
  });

  it('is on this node who serves, whatever the manager has heard', () => {
    assert.deepEqual(led([endpoint(2)], [local(1, true)]), ['10.1.0.1', '10.1.0.2']);
    assert.deepEqual(led([endpoint(1, HERE)], [local(1, false)]), []);
    assert.deepEqual(led([endpoint(1, HERE)], [local(1, true, { health: 'unhealthy' })]), []);
    assert.deepEqual(led([], [local(1, true, { health: 'starting' })]), []);
  });

  it('is nobody on another node where the network is each node’s own', () => {
    assert.deepEqual(led([endpoint(1), endpoint(2)], [local(1, true)], 'bridge'), ['10.1.0.1']);
  });

  it('is nobody yet to whom the way is just being made, as long as there are others', () => {
    const arriving = new Set([endpoint(2).taskId, endpoint(3).taskId]);
    const ledTo = (...endpoints: readonly NetworkEndpoint[]): readonly string[] =>
      balancedAddresses({ ...view(endpoints, []), arriving }, []).flatMap(({ endpoints: all }) => all);
    assert.deepEqual(ledTo(endpoint(1), endpoint(2), endpoint(3)), ['10.1.0.1']);
    assert.deepEqual(ledTo(endpoint(2), endpoint(3)), ['10.1.0.2', '10.1.0.3']);
  });

  it('is the same list as long as nothing changes', () => {
    const first = balancedAddresses(view([endpoint(1), endpoint(2)], []), []);
    const again = balancedAddresses(view([endpoint(2), endpoint(1)], []), first);
    assert.equal(again[0]?.endpoints, (first[0] as BalancedAddress).endpoints);
  });
});

import assert from 'node:assert/strict';
import type { NetworkId, NodeId } from '../../../base/ids.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import { network, service, task } from '../../../test/builders/objects.ts';
import { networkSpec } from '../../../test/builders/specs.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import { NO_ASSIGNMENTS, endpointKey } from '../assignments.ts';
import type { Assignments } from '../assignments.ts';
import { createVirtualAddresses } from './addresses.ts';

const NET = 'net' as NetworkId;
const [HERE, THERE] = ['here' as NodeId, 'there' as NodeId];
const web = service('web');
const endpoint = (slot: number): NetworkEndpoint => ({
  networkId: NET,
  ipv4: `10.1.0.${slot}`,
  taskId: task(web, slot).id,
  serviceId: web.id,
  name: `web-${slot}`,
  aliases: ['web'],
  nodeId: THERE,
});
const told = (...slots: readonly number[]): Assignments => ({
  ...NO_ASSIGNMENTS,
  networks: new Map([[NET, network('shop', { id: NET, spec: { ...networkSpec('shop'), driver: 'overlay' } })]]),
  services: new Map([['web', { serviceId: web.id, networkId: NET, names: ['web'], ipv4: '10.1.0.254' }]]),
  endpoints: new Map(slots.map((slot) => [endpointKey(endpoint(slot)), endpoint(slot)])),
});

describe('virtual addresses when a message of the manager comes', () => {
  const clock = new VirtualClock();
  let way: PromiseWithResolvers<void> | undefined;
  let assignments: Assignments;
  let led: readonly string[];
  let follow: (next: Assignments) => void;
  beforeEach(() => {
    [way, assignments, led] = [undefined, NO_ASSIGNMENTS, []];
    const addresses = createVirtualAddresses({
      nodeId: HERE,
      balancer: { setAddresses: ([one]) => (led = one?.endpoints ?? []) },
      assignments: () => assignments,
      controllers: new Map(),
      overlay: { settled: () => way?.promise },
      clock,
      life: new AbortController().signal,
    });
    follow = (next) => {
      const before = assignments;
      assignments = next;
      addresses.follow(before);
    };
  });

  it('lead to who comes when frames find the way, and at once no more to who goes', async () => {
    follow(told(1, 2));
    assert.deepEqual(led, ['10.1.0.1', '10.1.0.2'], 'nothing is under way');
    way = Promise.withResolvers();
    follow(told(2, 3));
    assert.deepEqual(led, ['10.1.0.2']);
    way.resolve();
    await settle();
    assert.deepEqual(led, ['10.1.0.2', '10.1.0.3']);
  });

  it('lead to who comes all the same where there is nobody else', () => {
    follow(told(1));
    way = Promise.withResolvers();
    follow(told(2));
    assert.deepEqual(led, ['10.1.0.2']);
  });

  it('do not wait for long', async () => {
    follow(told(1));
    way = Promise.withResolvers();
    follow(told(1, 2));
    await clock.advance(400);
    assert.deepEqual(led, ['10.1.0.1']);
    await clock.advance(200);
    assert.deepEqual(led, ['10.1.0.1', '10.1.0.2']);
  });
});

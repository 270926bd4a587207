import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { decode, encode } from 'dns-packet';
import { systemClock } from '../../../base/clock.ts';
import type { ContainerId, NetworkId, NodeId, ServiceId, TaskId } from '../../../base/ids.ts';
import { seededRandom, systemRandom } from '../../../base/random.ts';
import { bindSocket } from '../../../node-engine/native/addon.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import { createResolver } from '../../../worker/overlay/dns/index.ts';
import { RESOLVER_ADDRESS } from '../../../node-engine/network/index.ts';
import { openLab } from './lab.ts';
import type { Lab } from './lab.ts';

const NETWORK = 'net' as NetworkId;
const ENDPOINTS = 200;
const CHANGES = 500;
const UNDER_WAY = 16;

const endpoint = (n: number, life: number): NetworkEndpoint => ({
  taskId: `task${n}` as TaskId,
  serviceId: 'web' as ServiceId,
  nodeId: 'node' as NodeId,
  networkId: NETWORK,
  name: `web-${n}`,
  aliases: ['web'],
  // Another address in each life.
  ipv4: `10.${life & 255}.${n >> 8}.${n & 255}`,
});

describe('a resolver that is asked without rest while endpoints come and go', () => {
  let lab: Lab;
  let socket: Socket;
  const resolver = createResolver({
    clock: systemClock,
    random: systemRandom,
    networkName: () => 'shop_default',
    resolvConf: '/nonexistent',
  });
  before(async () => {
    lab = await openLab();
    await resolver.attach({ containerId: 'c' as ContainerId, netnsPath: lab.client, networks: [NETWORK], dns: [] });
    // A socket of the container's own.
    const { fd } = await bindSocket(lab.client, 'udp', '127.0.0.1', 0);
    socket = createSocket('udp4');
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
  });
  after(async () => {
    socket.close();
    resolver.close();
    await lab.close();
  });

  it('never names who was gone before the question was asked, and always who was there all the time', async () => {
    const random = seededRandom(11);
    /** The address of those that are there, and since which change. */
    const there = new Map<number, { readonly address: string; readonly since: number }>();
    /** The change with which an address went. */
    const gone = new Map<string, number>();
    const faults: string[] = [];
    let change = 0;
    let answered = 0;
    let id = 0;
    const asked = new Map<number, { readonly at: number; readonly name: string; readonly n: number | undefined }>();

    const ask = (): void => {
      id = (id + 1) & 0xffff;
      const n = random.next() < 0.5 ? undefined : Math.floor(random.next() * ENDPOINTS);
      const name = n === undefined ? 'web' : `web-${n}`;
      asked.set(id, { at: change, name, n });
      socket.send(
        encode({
          type: 'query',
          id,
          flags: 0x100,
          questions: [{ type: 'A', name }],
          additionals: [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: 4096,
              flags: 0,
              options: [],
              extendedRcode: 0,
              ednsVersion: 0,
              flag_do: false,
            },
          ],
        }),
        53,
        RESOLVER_ADDRESS,
      );
    };
    const finished = Promise.withResolvers<void>();
    socket.on('message', (message) => {
      const { id: of = -1, answers = [] } = decode(message);
      const question = asked.get(of);
      asked.delete(of);
      answered++;
      if (question !== undefined) {
        const addresses = new Set(answers.map((answer) => ('data' in answer ? String(answer.data) : '')));
        for (const address of addresses)
          if ((gone.get(address) ?? Infinity) <= question.at) faults.push(`${question.name}: ${address} is gone`);
        const mine = question.n === undefined ? [...there.entries()] : [[question.n, there.get(question.n)] as const];
        for (const [n, known] of mine)
          if (known !== undefined && known.since <= question.at && !addresses.has(known.address))
            faults.push(`${question.name}: ${n} is not named`);
      }
      if (change >= CHANGES && asked.size === 0) finished.resolve();
      else if (change < CHANGES) ask();
    });
    for (let i = 0; i < UNDER_WAY; i++) ask();
    while (change < CHANGES) {
      const now = change + 1;
      const endpoints: NetworkEndpoint[] = [];
      const removedEndpoints: string[] = [];
      const first = Math.floor(random.next() * ENDPOINTS);
      for (const n of [0, 7, 31, 64].map((step) => (first + step) % ENDPOINTS)) {
        const had = there.get(n);
        if (had !== undefined) gone.set(had.address, now);
        if (had !== undefined && random.next() < 0.5) {
          there.delete(n);
          removedEndpoints.push(`task${n}/${NETWORK}`);
        } else {
          const next = endpoint(n, now);
          gone.delete(next.ipv4);
          there.set(n, { address: next.ipv4, since: now });
          endpoints.push(next);
        }
      }
      resolver.changeNames({ endpoints, removedEndpoints });
      change = now;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await finished.promise;
    assert.deepEqual(faults.slice(0, 5), []);
    assert.ok(answered > UNDER_WAY, String(answered));
  });
});

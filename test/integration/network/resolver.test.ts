import { equal, match } from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode, encode, streamEncode } from 'dns-packet';
import type { NodeId, ServiceId, TaskId } from '../../../base/ids.ts';
import { bindSocket } from '../../../node-engine/native/addon.ts';
import type { BridgeRequest } from '../../../node-engine/types.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import { BACK, FRONT, containerId, on } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { openLab, run, show } from './lab.ts';

/** On the client's machine. */
const UPSTREAM = '192.168.77.2';
const CART = 'cart' as ServiceId;
const QUERY = join(import.meta.dirname, 'query.ts');

function endpoint(network: BridgeRequest, host: number, name: string, ...aliases: readonly string[]): NetworkEndpoint {
  const { ipv4 } = on(network, host);
  return {
    taskId: name as TaskId,
    serviceId: 'service' as ServiceId,
    nodeId: 'node' as NodeId,
    networkId: network.id,
    name,
    aliases,
    ipv4,
  };
}

describe('the resolver of a container', () => {
  let lab: Lab;
  let [a, b] = ['', ''];
  let closeUpstream: () => void;
  let asked: string[] = [];

  const query = (netns: string, ...argv: readonly string[]): Promise<string | undefined> =>
    run(netns, [process.execPath, QUERY, ...argv]);
  const attachA = (dns: readonly string[] = []): Promise<void> =>
    lab.call('attach', { containerId: containerId('a'), netnsPath: a, networks: [FRONT.id, BACK.id], dns });
  const resolvConf = (text: string): void => writeFileSync(join(lab.directory, 'resolv.conf'), text);

  before(async () => {
    lab = await openLab();
    for (const bridge of [FRONT, BACK]) await lab.call('ensureBridge', bridge);
    a = await lab.call('createSandbox', containerId('a'), {
      mode: 'networks',
      interfaces: [on(FRONT, 2), on(BACK, 2)],
    });
    b = await lab.call('createSandbox', containerId('b'), { mode: 'networks', interfaces: [on(BACK, 3)] });
    await attachA();
    await lab.call('attach', { containerId: containerId('b'), netnsPath: b, networks: [BACK.id], dns: [] });
    await lab.call('changeNames', {
      endpoints: [
        endpoint(FRONT, 10, 'shop-web-1', 'web', 'www'),
        endpoint(FRONT, 11, 'shop-web-2', 'web'),
        endpoint(BACK, 20, 'shop-db-1', 'db'),
        ...Array.from({ length: 60 }, (_, i) => endpoint(BACK, 100 + i, `shop-many-${i}`, 'many')),
        { ...endpoint(BACK, 30, 'shop-cart-1', 'cart'), serviceId: CART },
      ],
      services: [{ serviceId: CART, networkId: BACK.id, names: ['cart'], ipv4: '10.128.2.9' }],
    });
    closeUpstream = await serveUpstream(lab.client, (name) => asked.push(name));
    resolvConf(`nameserver ${UPSTREAM}\n`);
  });
  after(async () => {
    closeUpstream();
    await lab.close();
  });
  beforeEach(() => {
    asked = [];
  });

  const cases: readonly (readonly [string, () => string, readonly string[], string])[] = [
    ['a service: all its addresses', () => a, ['udp', 'A', 'web'], 'NOERROR 10.128.1.10 10.128.1.11'],
    ['a service with a virtual address: that one', () => a, ['udp', 'A', 'cart'], 'NOERROR 10.128.2.9'],
    ['all its tasks nevertheless', () => a, ['udp', 'A', 'tasks.cart'], 'NOERROR 10.128.2.30'],
    ['over TCP', () => a, ['tcp', 'A', 'web'], 'NOERROR 10.128.1.10 10.128.1.11'],
    ['a container', () => a, ['udp', 'A', 'shop-web-2'], 'NOERROR 10.128.1.11'],
    ['in any case of letters', () => a, ['udp', 'A', 'WwW'], 'NOERROR 10.128.1.10'],
    ['with the network behind it', () => a, ['udp', 'A', 'db.shop_back'], 'NOERROR 10.128.2.20'],
    ['tasks.<service>', () => a, ['udp', 'A', 'tasks.web'], 'NOERROR 10.128.1.10 10.128.1.11'],
    ['AAAA of a known name: nothing of that kind', () => a, ['udp', 'AAAA', 'web'], 'NOERROR'],
    ['an address', () => a, ['udp', 'PTR', '20.2.128.10.in-addr.arpa'], 'NOERROR shop-db-1.shop_back'],
    ['other names, by the server of the node', () => a, ['udp', 'A', 'example.org'], 'NOERROR 192.0.2.7'],
    ['other names over TCP', () => a, ['tcp', 'A', 'example.org'], 'NOERROR 192.0.2.7'],
    ['that a name does not exist, as the server says', () => a, ['udp', 'A', 'missing.example.org'], 'NXDOMAIN'],
    ['a refusal, as the server says', () => a, ['udp', 'A', 'refused.example.org'], 'REFUSED'],
    ['names of other networks: unknown', () => b, ['udp', 'A', 'web'], 'NXDOMAIN'],
    ['while the container holds port 53 itself', () => a, ['udp', 'A', 'www', 'taken'], 'NOERROR 10.128.1.10'],
    ['the same over TCP', () => a, ['tcp', 'A', 'www', 'taken'], 'NOERROR 10.128.1.10'],
  ];
  for (const [title, netns, argv, expected] of cases)
    it(`answers ${title}`, async () => {
      equal(await query(netns(), ...argv), expected);
    });

  it('asks nobody about names it knows', async () => {
    for (const type of ['A', 'AAAA', 'TXT']) await query(a, 'udp', type, 'web');
    equal(asked.join(), '');
  });

  it('sends what fits in a datagram, and all of it over TCP', async () => {
    match((await query(a, 'udp', 'A', 'many')) ?? '', /^NOERROR truncated( 10\.128\.2\.\d+){20,}$/);
    equal((await query(a, 'tcp', 'A', 'many'))?.split(' ').length, 61);
  });

  it('reads the list of servers again when it has changed', async () => {
    resolvConf('# none\n');
    equal(await query(a, 'udp', 'A', 'example.org'), 'SERVFAIL');
    equal(await query(a, 'udp', 'A', 'nobody'), 'NXDOMAIN');
    equal(await query(a, 'udp', 'A', 'web'), 'NOERROR 10.128.1.10 10.128.1.11');
    resolvConf(`nameserver ${UPSTREAM}\n`);
    equal(await query(a, 'udp', 'A', 'example.org'), 'NOERROR 192.0.2.7');
  });

  it('goes on to the next server when one refuses connections or is silent', async () => {
    resolvConf(`nameserver 127.0.0.1\nnameserver ${UPSTREAM}\n`);
    for (const transport of ['udp', 'tcp']) equal(await query(a, transport, 'A', 'example.org'), 'NOERROR 192.0.2.7');
    resolvConf(`nameserver 192.168.77.99\nnameserver ${UPSTREAM}\n`);
    equal(await query(a, 'udp', 'A', 'example.org'), 'NOERROR 192.0.2.7');
    resolvConf(`nameserver ${UPSTREAM}\n`);
  });

  it('fails cleanly and in time when no server answers', async () => {
    resolvConf('nameserver 192.168.77.99\n');
    equal(await query(a, 'udp', 'A', 'example.org'), 'SERVFAIL');
    resolvConf(`nameserver ${UPSTREAM}\n`);
  });

  it('asks the servers of the container instead, but never itself', async () => {
    await attachA(['127.0.0.11']);
    equal(await query(a, 'udp', 'A', 'example.org'), 'SERVFAIL');
    await attachA(['127.0.0.11', UPSTREAM]);
    resolvConf('');
    equal(await query(a, 'udp', 'A', 'example.org'), 'NOERROR 192.0.2.7');
    resolvConf(`nameserver ${UPSTREAM}\n`);
    await attachA();
  });

  it('serves again after a restart of the daemon, with the rules once', async () => {
    await lab.restart();
    await attachA();
    await lab.call('changeNames', { complete: true, endpoints: [endpoint(FRONT, 12, 'shop-web-3', 'web')] });
    equal(await query(a, 'udp', 'A', 'web'), 'NOERROR 10.128.1.12');
    equal(await query(a, 'tcp', 'A', 'web'), 'NOERROR 10.128.1.12');
    equal(show(a, 'nft', 'list', 'ruleset').match(/dport set/g)?.length, 2);
  });

  it('stops when it is detached', async () => {
    await lab.call('detach', containerId('a'));
    await lab.call('detach', containerId('a'));
    equal(await query(a, 'tcp', 'A', 'web'), undefined);
    await attachA();
    equal(await query(a, 'udp', 'A', 'web'), 'NOERROR 10.128.1.12');
  });
});

/** A name server with a small zone, on port 53 of a namespace. */
async function serveUpstream(netns: string, onQuestion: (name: string) => void): Promise<() => void> {
  const answer = (message: Buffer): Parameters<typeof encode>[0] => {
    const { id, questions } = decode(message);
    const name = questions?.[0]?.name ?? '';
    onQuestion(name);
    const rcode = { 'example.org': 0, 'refused.example.org': 5 }[name] ?? 3;
    const answers = rcode === 0 ? [{ type: 'A', name, ttl: 60, data: '192.0.2.7' } as const] : [];
    return { type: 'response', id: id ?? 0, flags: 0x180 | rcode, questions: questions ?? [], answers };
  };
  const datagrams: Socket = createSocket('udp4');
  datagrams.on('message', (message, { port, address }) => datagrams.send(encode(answer(message)), port, address));
  datagrams.bind({ fd: (await bindSocket(netns, 'udp', '0.0.0.0', 53)).fd });
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (part) => socket.end(streamEncode(answer(part.subarray(2)))));
  });
  server.listen({ fd: (await bindSocket(netns, 'tcp-listen', '0.0.0.0', 53)).fd });
  await once(server, 'listening');
  return () => {
    datagrams.close();
    server.close();
  };
}

import { deepEqual, equal, ok } from 'node:assert/strict';
import type { RecordType } from 'dns-packet';
import { decode, encode } from 'dns-packet';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../../base/ids.ts';
import { seededRandom } from '../../../base/random.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import type { Decision, Question } from './answer.ts';
import { decide, serverFailure, withoutUpstream } from './answer.ts';
import { FrameReader, frame } from './frames.ts';
import { Records } from './records.ts';
import { parseNameservers } from './resolv-conf.ts';

const FRONT = { id: 'front' as NetworkId, name: 'shop_front' };
const BACK = { id: 'back' as NetworkId, name: 'shop_back' };

const WEB = 's' as ServiceId;
const CART = 'cart' as ServiceId;

function endpoint(networkId: NetworkId, ipv4: string, name: string, ...aliases: readonly string[]): NetworkEndpoint {
  const ids = { taskId: name as TaskId, serviceId: WEB, nodeId: 'n' as NodeId };
  return { ...ids, networkId, name, aliases, ipv4 };
}

const RECORDS = new Records();
RECORDS.change({
  endpoints: [
    endpoint(FRONT.id, '10.1.0.2', 'shop-web-1', 'web', 'shop-web-1'),
    endpoint(FRONT.id, '10.1.0.3', 'shop-web-2', 'web'),
    endpoint(BACK.id, '10.2.0.2', 'shop-web-1', 'web'),
    endpoint(BACK.id, '10.2.0.4', 'shop-db-1', 'db', 'db.internal'),
    ...Array.from({ length: 100 }, (_, i) => endpoint(BACK.id, `10.2.1.${i}`, `many-${i}`, 'many')),
    { ...endpoint(BACK.id, '10.2.0.5', 'shop-cart-1', 'cart', 'shared'), serviceId: CART, ipv6: 'fd00::5' },
    { ...endpoint(BACK.id, '10.2.0.6', 'shop-cart-2', 'cart', 'shared'), serviceId: CART, ipv6: 'fd00::6' },
    endpoint(BACK.id, '10.2.0.7', 'shop-other-1', 'shared'),
  ],
  services: [
    {
      serviceId: CART,
      networkId: BACK.id,
      names: ['cart', 'cart.shop', 'shared'],
      ipv4: '10.2.0.200',
      ipv6: 'fd00::c8',
    },
    { serviceId: 'empty' as ServiceId, networkId: BACK.id, names: ['empty'], ipv4: '10.2.0.201' },
  ],
});

function query(type: string, name: string, extra: object = {}): Buffer {
  return encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type: type as RecordType, name }], ...extra });
}

function ask(message: Buffer, change: Partial<Question> = {}): Decision {
  return decide({ records: RECORDS, networks: [FRONT, BACK], transport: 'udp', message, ...change }, seededRandom(1));
}

function answersOf(decision: Decision): readonly string[] | string {
  if (decision.kind !== 'answer') return decision.kind;
  const { answers = [] } = decode(decision.message);
  return answers
    .map((answer) => {
      if (answer.type === 'SRV') return `${answer.data.target}:${answer.data.port}`;
      return 'data' in answer ? String(answer.data) : '';
    })
    .sort();
}

const OPTION = {
  additionals: [
    { type: 'OPT', name: '.', udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0, options: [] },
  ],
};

describe('questions to the resolver', () => {
  const cases: readonly (readonly [string, string, string, readonly string[] | string])[] = [
    ['a service', 'A', 'web', ['10.1.0.2', '10.1.0.3']],
    ['a service with a dot behind it', 'A', 'web.', ['10.1.0.2', '10.1.0.3']],
    ['a service on the second network', 'A', 'db', ['10.2.0.4']],
    ['a service on a named network', 'A', 'web.shop_back', ['10.2.0.2']],
    ['an alias with a dot', 'A', 'DB.Internal', ['10.2.0.4']],
    ['a container', 'A', 'shop-web-2', ['10.1.0.3']],
    ['tasks of a service', 'A', 'tasks.web', ['10.1.0.2', '10.1.0.3']],
    ['tasks of a service on a named network', 'A', 'tasks.web.shop_back', ['10.2.0.2']],
    ['everything about a service', 'ANY', 'db', ['10.2.0.4']],
    ['IPv6 of a service', 'AAAA', 'web', []],
    ['text of a service', 'TXT', 'web', []],
    ['a service with a virtual address', 'A', 'cart', ['10.2.0.200']],
    ['its IPv6 address', 'AAAA', 'cart', ['fd00::c8']],
    ['it in its project', 'A', 'cart.shop', ['10.2.0.200']],
    ['it on a named network', 'AAAA', 'Cart.Shop_Back', ['fd00::c8']],
    ['everything about it', 'ANY', 'cart', ['10.2.0.200', 'fd00::c8']],
    ['its tasks', 'A', 'tasks.cart', ['10.2.0.5', '10.2.0.6']],
    ['the IPv6 addresses of its tasks', 'AAAA', 'tasks.cart', ['fd00::5', 'fd00::6']],
    ['one of its containers', 'A', 'shop-cart-1', ['10.2.0.5']],
    ['a name that it shares', 'A', 'shared', ['10.2.0.200', '10.2.0.7']],
    ['a service whose tasks are all away', 'A', 'empty', ['10.2.0.201']],
    ['mail of a service', 'MX', 'cart', []],
    ['its virtual address', 'PTR', '200.0.2.10.in-addr.arpa', ['cart.shop_back']],
    ['an IPv6 address', 'PTR', `5.${'0.'.repeat(29)}d.f.ip6.arpa`, ['shop-cart-1.shop_back']],
    ['half an address', 'PTR', '2.10.in-addr.arpa', 'forward'],
    ['where a port is', 'SRV', '_8080._tcp.cart', ['shop-cart-1.shop_back:8080', 'shop-cart-2.shop_back:8080']],
    ['where a port is, asked otherwise', 'A', '_8080._tcp.cart', []],
    ['where a port is that cannot be', 'SRV', '_80800._tcp.cart', 'forward'],
    ['where a port of an unknown name is', 'SRV', '_80._tcp.nothing', 'forward'],
    ['an address', 'PTR', '3.0.1.10.in-addr.arpa', ['shop-web-2.shop_front']],
    ['an unknown address', 'PTR', '8.8.8.8.in-addr.arpa', 'forward'],
    ['an unknown name', 'A', 'example.org', 'forward'],
    ['an unknown name of one label', 'A', 'nothing', 'forward'],
    ['an unknown name on a known network', 'A', 'nothing.shop_front', 'forward'],
    ['a name that only ends like ours', 'A', 'notweb', 'forward'],
  ];
  for (const [title, type, name, expected] of cases)
    it(`about ${title}`, () => deepEqual(answersOf(ask(query(type, name))), expected));

  it('about a name of a network that the container is not on are passed on', () => {
    equal(answersOf(ask(query('A', 'db'), { networks: [FRONT] })), 'forward');
    equal(answersOf(ask(query('PTR', '4.0.2.10.in-addr.arpa'), { networks: [FRONT] })), 'forward');
  });
  it('about a further name of a service are answered to the container that has the link', () => {
    const links = new Map([['database', 'db']]);
    deepEqual(answersOf(ask(query('A', 'DataBase'), { links })), ['10.2.0.4']);
    equal(answersOf(ask(query('A', 'database'))), 'forward');
  });
  it('tell where the answer names a virtual address', () => {
    const isVirtual = (type: string, name: string): boolean => {
      const decision = ask(query(type, name));
      return decision.kind === 'answer' && decision.isVirtual === true;
    };
    for (const name of ['cart', 'cart.shop_back', 'shared', 'empty']) ok(isVirtual('A', name), name);
    ok(isVirtual('AAAA', 'cart'));
    for (const name of ['web', 'tasks.cart', 'shop-cart-1']) ok(!isVirtual('A', name), name);
    ok(!isVirtual('AAAA', 'empty'));
  });
  it('come back under their id, with the question as it was asked', () => {
    const decision = ask(query('A', 'WeB'));
    ok(decision.kind === 'answer');
    const { id, questions, answers, flags } = decode(decision.message);
    equal(id, 7);
    equal(questions?.[0]?.name, 'WeB');
    equal(answers?.[0]?.name, 'WeB');
    equal((flags ?? 0) & 0x0580, 0x0580, 'authoritative, recursion desired and available');
  });
  it('where a port is come with the addresses of what they name', () => {
    const decision = ask(query('SRV', '_80._tcp.cart', OPTION));
    ok(decision.kind === 'answer');
    const { additionals = [] } = decode(decision.message);
    deepEqual(additionals.map((record) => ('data' in record ? `${record.name} ${String(record.data)}` : '')).sort(), [
      '',
      'shop-cart-1.shop_back 10.2.0.5',
      'shop-cart-1.shop_back fd00::5',
      'shop-cart-2.shop_back 10.2.0.6',
      'shop-cart-2.shop_back fd00::6',
    ]);
  });
  it('are answered in changing order, so that clients spread', () => {
    const random = seededRandom(3);
    const firsts = Array.from({ length: 40 }, () => {
      const networks = [FRONT];
      const decision = decide({ records: RECORDS, networks, transport: 'udp', message: query('A', 'web') }, random);
      return decision.kind === 'answer' ? decode(decision.message).answers?.[0] : undefined;
    });
    equal(new Set(firsts.map((first) => first && 'data' in first && first.data)).size, 2);
  });
  for (const [title, message, transport, limit, whole] of [
    ['512 bytes without the extension', query('A', 'many'), 'udp', 512, false],
    ['the size that the client allows', query('A', 'many', OPTION), 'udp', 1232, false],
    ['all of it over TCP', query('A', 'many'), 'tcp', 65535, true],
  ] as const)
    it(`are answered with ${title}`, () => {
      const decision = ask(message, { transport });
      ok(decision.kind === 'answer');
      const { answers, flags } = decode(decision.message);
      ok(decision.message.length <= limit);
      equal(((flags ?? 0) & 0x200) === 0, whole);
      ok(whole ? answers?.length === 100 : decision.message.length > limit - 40, 'as many as fit');
    });
  it('are ignored when they are answers', () =>
    equal(ask(encode({ type: 'response', id: 1, questions: [{ type: 'A', name: 'web' }] })).kind, 'ignore'));
  it('are ignored when they are shorter than a header', () => equal(ask(Buffer.from('hello')).kind, 'ignore'));
  it('that cannot be read are turned down as malformed', () => {
    const decision = ask(Buffer.concat([query('A', 'web').subarray(0, 12), Buffer.from([200, 200])]));
    ok(decision.kind === 'answer');
    equal(decision.message.readUInt16BE(2) & 15, 1);
  });
  it('of two at once are turned down as malformed', () => {
    const decision = ask(query('A', 'web', { questions: [{ type: 'A', name: 'a' }, { type: 'A', name: 'b' }] })); // prettier-ignore
    ok(decision.kind === 'answer');
    equal(decision.message.readUInt16BE(2) & 15, 1);
  });
  it('that are other operations are turned down as not implemented', () => {
    const decision = ask(query('A', 'web', { flags: 5 << 11 }));
    ok(decision.kind === 'answer');
    equal(decision.message.readUInt16BE(2) & 15, 4);
  });
});

describe('questions that nobody can be asked', () => {
  for (const [name, rcode] of [
    ['nothing', 'NXDOMAIN'],
    ['example.org', 'SERVFAIL'],
  ] as const)
    it(`about "${name}" get ${rcode}`, () => {
      const reply = decode(withoutUpstream(query('A', name))) as ReturnType<typeof decode> & { rcode: string };
      equal(reply.rcode, rcode);
      equal(reply.questions?.[0]?.name, name);
    });
  it('lose their extension records in a failure', () => {
    const reply = decode(serverFailure(query('A', 'example.org', OPTION)));
    deepEqual([reply.questions?.length, reply.additionals?.length], [1, 0]);
  });
});

describe('frames of TCP', () => {
  it('are put together from parts of any size', () => {
    const stream = Buffer.concat([frame(Buffer.from('first')), frame(Buffer.alloc(0)), frame(Buffer.from('third'))]);
    for (let size = 1; size <= stream.length; size++) {
      const reader = new FrameReader();
      const found: string[] = [];
      for (let at = 0; at < stream.length; at += size)
        found.push(...reader.push(stream.subarray(at, at + size)).map(String));
      deepEqual(found, ['first', '', 'third']);
    }
  });
});

describe('resolv.conf', () => {
  for (const [title, text, expected] of [
    ['servers in their order', 'nameserver 10.0.0.1\nnameserver 10.0.0.2\n', ['10.0.0.1', '10.0.0.2']],
    ['comments and other lines', '# nameserver 1.1.1.1\nsearch lan\n\tnameserver  ::1 # x\n', ['::1']],
    ['what is no address', 'nameserver dns.example.org\nnameserver 1.2.3\n', []],
    [
      'at most three',
      [1, 2, 3, 4].map((n) => `nameserver 10.0.0.${n}\n`).join(''),
      ['10.0.0.1', '10.0.0.2', '10.0.0.3'],
    ],
    ['nothing', '', []],
  ] as const)
    it(title, () => deepEqual(parseNameservers(text), expected));
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { seededRandom } from '../../../base/random.ts';
import { balanceNamespace } from '../../../node-engine/network/index.ts';
import type { NamespaceBalancer, VirtualAddresses } from '../../../node-engine/network/index.ts';
import { show } from './lab.ts';
import { openTalker } from './talker.ts';
import type { Talker } from './talker.ts';

const VIP = '10.9.0.254';
const OTHER = '10.9.0.253';
const CLIENT = '10.9.0.2';
const [A, B, C] = ['10.9.0.11', '10.9.0.12', '10.9.0.13'] as const;
const NOBODY = '10.9.0.99';

describe('virtual addresses in a namespace', () => {
  const [client, servers] = [`tsbal${process.pid}c`, `tsbal${process.pid}s`];
  const inside = `/var/run/netns/${client}`;
  const ip = (...argv: readonly string[]): void => {
    execFileSync('ip', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
  };
  const address = (space: string, text: string): void => {
    const more = text.includes(':') ? [`${text}/64`, 'nodad'] : [`${text}/24`];
    ip('-n', space, 'addr', 'add', ...more, 'dev', 'eth0');
  };
  let caller: Talker;
  let answerer: Talker;
  let balancer: NamespaceBalancer;
  before(async () => {
    for (const space of [client, servers]) ip('netns', 'add', space);
    ip('-n', client, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', servers);
    for (const one of [CLIENT, 'fd09::2']) address(client, one);
    for (const one of [A, B, C, 'fd09::11', 'fd09::12']) address(servers, one);
    for (const space of [client, servers])
      for (const link of ['lo', 'eth0']) ip('-n', space, 'link', 'set', link, 'up');
    ip('-n', client, 'neigh', 'add', NOBODY, 'lladdr', '02:00:00:00:00:99', 'dev', 'eth0');
    caller = openTalker(inside);
    answerer = openTalker(`/var/run/netns/${servers}`);
    await answerer.call('serveTcp', 8001);
    for (const one of [A, B]) await answerer.call('serveUdp', 8002, one);
  });
  after(() => {
    caller.close();
    answerer.close();
    for (const space of [client, servers]) ip('netns', 'del', space);
  });
  beforeEach(() => (balancer = balanceNamespace(inside, 'a test')));
  afterEach(() => balancer.close());

  const to = (...endpoints: readonly string[]): VirtualAddresses => new Map([[VIP, endpoints]]);
  const seen = async (times: number, at = VIP): Promise<readonly string[]> =>
    Object.keys(await caller.call('ask', at, 8001, times)).sort();

  it('lead to every endpoint, to those that come, and no more to those that go', async () => {
    await balancer.set(to(A, B));
    assert.deepEqual(await seen(30), [A, B]);
    await balancer.set(to(A, B, C));
    assert.deepEqual(await seen(50), [A, B, C]);
    await balancer.set(to(B, C));
    assert.deepEqual(await seen(30), [B, C]);
    await balancer.set(to(B));
    assert.deepEqual(await seen(5), [B]);
    await balancer.set(new Map([...to(B), [OTHER, [C]]]));
    assert.deepEqual(await seen(5, OTHER), [C]);
    assert.deepEqual(await seen(5), [B]);
  });

  it('refuse at once where nobody is left', async () => {
    await balancer.set(to());
    assert.deepEqual(await seen(1), ['ECONNREFUSED']);
  });

  it('are taken over by the next process, and mended where somebody has changed them', async () => {
    await balancer.set(to(A, B));
    const next = balanceNamespace(inside, 'a test');
    await next.set(to(B));
    assert.deepEqual(await seen(5), [B]);
    show(inside, 'nft', 'delete', 'table', 'ip', 'tsswarm_balance');
    await next.set(to(A));
    assert.deepEqual(await seen(5), [A]);
    next.close();
  });

  it('lead a container to itself', async () => {
    await caller.call('serveTcp', 8001);
    await balancer.set(to(CLIENT));
    assert.deepEqual(await seen(3), [CLIENT]);
  });

  it('move who goes on sending datagrams from the same port', async () => {
    await balancer.set(to(A));
    assert.equal(await caller.call('askUdp', 'one', VIP, 8002), A);
    await balancer.set(to(A, B));
    assert.equal(await caller.call('askUdp', 'one', VIP, 8002), A, 'as long as it is there');
    await balancer.set(to(B));
    assert.equal(await caller.call('askUdp', 'one', VIP, 8002), B);
    await balancer.set(to());
    const waiting = caller.call('askUdp', 'one', VIP, 8002);
    await caller.call('close', 'nothing');
    await balancer.set(to(A));
    assert.equal(await waiting, A, 'when somebody is there again');
  });

  describe('whose endpoint has gone while datagrams were on their way', () => {
    const FROM = 4711;
    const SIX = { virtual: 'fd09::fffe', endpoint: 'fd09::11', other: 'fd09::12' } as const;
    const flows = (): string => show(inside, 'cat', '/proc/net/nf_conntrack');
    const tables = (): string => show(inside, 'nft', 'list', 'tables');
    const six = (endpoint: string): VirtualAddresses => new Map([[SIX.virtual, [endpoint]]]);
    /** Asks, and has the answer given when the address leads elsewhere. */
    const askMeanwhile = async (port: number, before: VirtualAddresses, after: VirtualAddresses): Promise<string> => {
      const [virtual = ''] = before.keys();
      const answer = caller.call('askUdpOnce', virtual, port, FROM);
      while ((await answerer.call('waiting')) === 0);
      await balancer.set(after);
      await answerer.call('answerNow');
      return answer;
    };
    before(async () => {
      for (const one of [A, SIX.endpoint]) await answerer.call('serveUdpLater', 8003, one);
      for (const one of [B, SIX.endpoint, SIX.other]) await answerer.call('serveUdp', one === B ? 8003 : 8002, one);
    });

    it('let the answers through', async () => {
      await balancer.set(to(A));
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
    });

    it('let them through also where the flow is one of before', async () => {
      await balancer.set(to(A));
      const first = caller.call('askUdpOnce', VIP, 8003, FROM);
      while ((await answerer.call('answerNow')) === 0);
      assert.equal(await first, A);
      assert.match(flows(), new RegExp(`sport=${FROM} dport=8003`));
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
      assert.equal(await caller.call('askUdpOnce', VIP, 8003, FROM), B, 'and the next one is led elsewhere');
    });

    it('let them through also where the kernel has given the caller another port', async () => {
      await balancer.set(to(A));
      const straight = caller.call('askUdpOnce', A, 8003, FROM);
      while ((await answerer.call('answerNow')) === 0);
      assert.equal(await straight, A);
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
    });

    it('let them through over IPv6', async () => {
      await balancer.set(six(SIX.endpoint));
      assert.equal(await askMeanwhile(8003, six(SIX.endpoint), six(SIX.other)), SIX.endpoint);
    });

    it('leave alone what the same server answers to those who asked it by its own address', async () => {
      await balancer.set(to(A));
      const first = caller.call('askUdpOnce', VIP, 8003, FROM);
      while ((await answerer.call('answerNow')) === 0);
      assert.equal(await first, A);
      await balancer.set(to(B));
      const straight = caller.call('askUdpOnce', A, 8003, FROM);
      while ((await answerer.call('answerNow')) === 0);
      assert.equal(await straight, A);
    });

    it('keep nothing of it when no answer can come any more', async () => {
      await balancer.set(to(A));
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
      assert.match(tables(), /tsswarm_answers/);
      for (const until = performance.now() + 20_000; /tsswarm_answers/.test(tables());) {
        assert.ok(performance.now() < until, 'the table is gone within 20 s');
        await caller.call('close', 'nothing');
      }
    });

    it('take over what an earlier daemon has left', async () => {
      await balancer.set(to(A));
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
      const next = balanceNamespace(inside, 'a test');
      const former = balancer;
      balancer = next;
      await next.set(to(A));
      assert.equal(await askMeanwhile(8003, to(A), to(B)), A);
      former.close();
    });
  });

  it('forget where a datagram was sent that nobody answers', async () => {
    await balancer.set(to(NOBODY));
    const asking = caller.call('askUdp', 'patient', VIP, 8002);
    const flows = (): string => show(inside, 'cat', '/proc/net/nf_conntrack');
    while (!flows().includes(NOBODY)) await caller.call('close', 'nothing');
    await balancer.set(to(B));
    assert.equal(await asking, B);
  });

  it('forget it also while other endpoints come without rest', async () => {
    await balancer.set(to(NOBODY));
    const asking = caller.call('askUdp', 'restless', VIP, 8002);
    const flows = (): string => show(inside, 'cat', '/proc/net/nf_conntrack');
    while (!flows().includes(NOBODY)) await caller.call('close', 'nothing');
    let isAnswered = false;
    void asking.then(() => (isAnswered = true));
    const others: string[] = [];
    for (const until = performance.now() + 4000; !isAnswered && performance.now() < until;) {
      others.push(`10.9.${(others.length >> 7) + 10}.${(others.length & 127) + 1}`);
      await balancer.set(new Map([...to(B), [OTHER, [...others]]]));
    }
    assert.ok(isAnswered, `not while ${others.length} came`);
    assert.equal(await asking, B);
  });

  it('leave connections that stand alone', async () => {
    await balancer.set(to(A));
    assert.equal(await caller.call('connect', 'standing', VIP, 8001), 'ok');
    await balancer.set(to(B));
    assert.match(await caller.call('say', 'standing'), new RegExp(`^${A} `));
    await caller.call('close', 'standing');
  });

  it('send a connection elsewhere that nobody has answered', async () => {
    await balancer.set(to(NOBODY));
    const waiting = caller.call('connect', 'waiting', VIP, 8001);
    const flows = (): string => show(inside, 'cat', '/proc/net/nf_conntrack');
    for (let i = 0; i < 100 && !flows().includes(NOBODY); i++) await caller.call('close', 'nothing');
    assert.ok(flows().includes(NOBODY), 'it is under way');
    await balancer.set(to(B));
    assert.equal(await waiting, 'ok');
    assert.match(await caller.call('say', 'waiting'), new RegExp(`^${B} `));
    await caller.call('close', 'waiting');
  });

  it('lead to nobody who is gone while hundreds come and go', async () => {
    const random = seededRandom(5);
    const all = Array.from({ length: 500 }, (_, index) => `10.9.${(index >> 7) + 4}.${(index & 127) + 1}`);
    const lines = all.map((one) => `addr add ${one}/16 dev eth0`);
    execFileSync('ip', ['-n', servers, '-batch', '-'], { input: `${lines.join('\n')}\n` });
    ip('-n', client, 'route', 'add', '10.9.0.0/16', 'dev', 'eth0');
    let before: readonly string[] = [];
    for (let round = 0; round < 15; round++) {
      const share = random.next();
      const now = all.filter(() => random.next() < share).concat(A);
      const setting = balancer.set(to(...now));
      const meanwhile = before.length === 0 ? [] : await seen(10);
      await setting;
      for (const one of meanwhile) assert.ok(before.includes(one) || now.includes(one), `round ${round}: ${one}`);
      for (const one of await seen(20)) assert.ok(now.includes(one), `round ${round}: ${one}`);
      before = now;
    }
  });

  it('are of both kinds', async () => {
    await balancer.set(new Map([...to(A), ['fd09::fffe', ['fd09::11']]]));
    assert.deepEqual(await seen(2, 'fd09::fffe'), ['fd09::11']);
    assert.deepEqual(await seen(2), [A]);
    await balancer.set(new Map([...to(A), ['fd09::fffe', []]]));
    assert.deepEqual(await seen(1, 'fd09::fffe'), ['ECONNREFUSED']);
  });
});

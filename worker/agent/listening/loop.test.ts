import assert from 'node:assert/strict';
import type { IngressPort } from '../../../proto/types/index.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { service, task } from '../../../test/builders/objects.ts';
import { awaitedPorts, isReady } from './listening.ts';
import { untilListening } from './loop.ts';

const port = (target: number, protocol: 'tcp' | 'udp' = 'tcp') =>
  ({ target, published: target + 8000, protocol, mode: 'ingress', hostIp: '' }) as const;
const WEB = service('web');
const DB = service('db');
const ingress = (of: typeof WEB, ...ports: readonly IngressPort['port'][]): readonly IngressPort[] =>
  ports.map((one) => ({ port: one, serviceId: of.id, backends: [] }));

describe('the ports that a container is awaited to listen to', () => {
  const known = [...ingress(WEB, port(80), port(53, 'udp')), ...ingress(DB, port(5432))];

  it('are the published ones of its service over TCP, and its own, each once', () => {
    const own = { ...task(WEB, 1), ports: [port(22), port(80)] };
    assert.deepEqual(awaitedPorts(own, known), [22, 80]);
  });
  it('are none for what a person runs, and for what has no network of its own', () => {
    assert.deepEqual(awaitedPorts({ ...task(WEB, 1), oneOff: true }, known), []);
    const hosted = task(WEB, 1);
    assert.deepEqual(awaitedPorts({ ...hosted, spec: { ...hosted.spec, networkMode: 'host' } }, known), []);
  });
});

describe('a container is taken for listening', () => {
  const found = new Set([80]);
  const rows: readonly (readonly [string, boolean, boolean])[] = [
    ['when all ports are listened to', isReady([80], found, 0, 0), true],
    ['not before', isReady([80, 443], found, 400, 400), false],
    ['soon after the first', isReady([80, 443], found, 600, 500), true],
    ['when it was long enough', isReady([443], found, 3000, undefined), true],
  ];
  for (const [title, is, wanted] of rows) it(title, () => assert.equal(is, wanted));
});

describe('waiting for a container to listen', () => {
  /** @returns when it was over, ms of the clock, and how often it was asked */
  async function wait(answer: (at: number) => ReadonlySet<number> | undefined, signal = new AbortController().signal) {
    const clock = new VirtualClock();
    const began = clock.monotonic();
    let asked = 0;
    let over: number | undefined;
    const ask = () => Promise.resolve((asked++, answer(clock.monotonic() - began)));
    void untilListening(ask, [80], clock, signal).then(() => (over = clock.monotonic() - began));
    for (let i = 0; over === undefined && i < 5000; i++) await clock.advance(1);
    return { over, asked };
  }

  it('is over soon after it does', async () => {
    const { over = 0, asked } = await wait((at) => new Set(at < 250 ? [] : [80]));
    assert.ok(over >= 250 && over <= 350, String(over));
    assert.ok(asked <= 8, String(asked));
  });
  it('is over at once where it cannot be told', async () => {
    assert.deepEqual(await wait(() => undefined), { over: 0, asked: 1 });
  });
  it('is over after three seconds at the latest', async () => {
    const { over = 0, asked } = await wait(() => new Set());
    assert.ok(over >= 3000 && over <= 3100, String(over));
    assert.ok(asked < 40, String(asked));
  });
  it('is over when the container has ended', async () => {
    assert.deepEqual((await wait(() => new Set(), AbortSignal.abort())).asked, 0);
  });
});

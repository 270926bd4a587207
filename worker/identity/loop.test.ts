import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { caInProcess } from '../../manager/ca/server.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import type { CaClient } from './client.ts';
import { keepIdentity } from './loop.ts';
import type { IdentityKeeper } from './loop.ts';
import { renewalDelayMs, retryDelayMs } from './renewal.ts';

const DAY = 24 * 3600_000;

describe('keeping an identity', () => {
  let cluster: CaCluster;
  let worker: LiveIdentity;
  let keeper: IdentityKeeper | undefined;
  const saved: string[] = [];

  function keep(change: Partial<CaClient> = {}, save = (): Promise<void> => Promise.resolve()): IdentityKeeper {
    const ca = { ...caInProcess(cluster.ca, () => worker.node), ...change };
    keeper = keepIdentity({
      identity: worker,
      disk: {
        async save({ certificate }) {
          await save();
          saved.push(certificate);
        },
      },
      ca: () => ca,
      clock: cluster.clock,
      random: seededRandom(4),
      logger: silentLogger,
    });
    return keeper;
  }
  const stored = () => cluster.store.view((tx) => tx.get('node', worker.node.nodeId));
  /** Signing runs on threads: virtual time alone does not get it done. */
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await cluster.clock.advance(0);
  };

  beforeEach(async () => {
    cluster = await caCluster();
    worker = await cluster.member('worker');
    saved.length = 0;
  });
  afterEach(async () => {
    await keeper?.close();
    cluster.close();
  });

  it('chooses a moment between 50 and 80 % of the life', () => {
    const { certificate } = worker.current;
    const now = cluster.clock.now();
    for (const [share, days] of [
      [0, 45],
      [0.999999, 72],
    ] as const) {
      const delay = renewalDelayMs(certificate, now, { ...seededRandom(1), next: () => share });
      assert.ok(Math.abs(delay - days * DAY) < 3600_000, String(delay / DAY));
    }
    assert.equal(renewalDelayMs(certificate, now + 89 * DAY, seededRandom(1)), 0);
  });

  it('tries more often the nearer the end is: a manager that comes back shortly before is asked', () => {
    const { certificate } = worker.current;
    const ends = cluster.clock.now() + 90 * DAY;
    // An hour, as usual, and far less near the end.
    assert.equal(retryDelayMs(certificate, ends - 20 * DAY, 12), 3600_000);
    const delay = retryDelayMs(certificate, ends - 600_000, 12);
    assert.ok(delay > 140_000 && delay < 160_000, String(delay));
    assert.equal(retryDelayMs(certificate, ends - 600_000, 1), 5_000);
    assert.equal(retryDelayMs(certificate, ends - 8_000, 12), 5_000);
    // Nobody lets it in any more: now and then is enough.
    assert.equal(retryDelayMs(certificate, ends + DAY, 12), 3600_000);
    // However the managers were away for a day before the end, they are asked in the last minutes.
    let at = ends - DAY;
    for (let failures = 1; ends - at > 60_000; failures++) at += retryDelayMs(certificate, at, failures);
    assert.ok(ends - at > 20_000, `asked ${ends - at} ms before the end`);
  });

  it('renews in time, on disk first, and again after that', async () => {
    const first = worker.current.certificate;
    keep();
    await cluster.clock.advance(44 * DAY);
    assert.equal(worker.current.certificate, first);
    await cluster.clock.advance(29 * DAY);
    await until(() => worker.current.certificate !== first);
    assert.deepEqual(saved, [worker.current.certificate]);
    const second = worker.current.certificate;
    await cluster.clock.advance(73 * DAY);
    await until(() => worker.current.certificate !== second);
  });

  it('tells the manager of a certificate that it has renewed by itself, though no word has come', async () => {
    let told = 0;
    const first = worker.current.certificate;
    keep({
      // A stream on which nobody says anything any more.
      async *watchIdentity(_usage, signal) {
        told++;
        await new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
        yield* [];
      },
    });
    await cluster.clock.advance(DAY);
    assert.equal(told, 1);
    await cluster.clock.advance(73 * DAY);
    await until(() => worker.current.certificate !== first);
    await until(() => told === 2);
  });

  it('tries again, slower and slower, while the CA cannot be reached', async () => {
    const times: number[] = [];
    const first = worker.current.certificate;
    const real = caInProcess(cluster.ca, () => worker.node);
    keep({
      issueCertificate(request, signal) {
        times.push(cluster.clock.now());
        if (times.length < 4) return Promise.reject(new TsswarmError('UNAVAILABLE', 'no'));
        return real.issueCertificate(request, signal);
      },
    });
    while (times.length < 4) await cluster.clock.advance(times.length === 0 ? DAY : 1000);
    const gaps = times.slice(1).map((time, i) => Math.round((time - (times[i] ?? 0)) / 1000));
    // Signing takes real time, in which the virtual clock may move on a little.
    for (const [i, gap] of [5, 10, 20].entries()) assert.ok((gaps[i] ?? 0) >= gap, gaps.join());
    await until(() => worker.current.certificate !== first);
  });

  it('renews at once when the role was changed, as the new role', async () => {
    keep();
    await cluster.clock.advance(0);
    await cluster.setRole(worker.node.nodeId, 'manager');
    await until(() => worker.node.role === 'manager');
    await cluster.setRole(worker.node.nodeId, 'worker');
    await until(() => worker.node.role === 'worker');
  });

  it('tells the manager what it uses', async () => {
    keep();
    await until(() => (stored()?.certificate?.usedIssuer ?? '') !== '');
    assert.equal(stored()?.certificate?.trustedRoots.length, 1);
  });

  it('does not use what it could not save', async () => {
    const first = worker.current;
    const broken = keep({}, () => Promise.reject(new Error('disk full')));
    await assert.rejects(broken.renewNow(), /disk full/);
    assert.equal(worker.current, first);
  });

  it('shares a renewal that runs already', async () => {
    const mine = keep();
    await Promise.all([mine.renewNow(), mine.renewNow()]);
    assert.equal(saved.length, 1);
  });

  it('ends when it is closed, in the middle of a wait', async () => {
    await keep().close();
    await cluster.clock.advance(100 * DAY);
    assert.deepEqual(saved, []);
  });
});

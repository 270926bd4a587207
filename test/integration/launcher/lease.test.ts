import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootTime } from '../../../node-engine/native/addon.ts';
import { openNodeLease } from '../../../node-engine/runtime/node-lease.ts';
import type { NodeLease } from '../../../node-engine/types.ts';
import { LauncherFixture } from './fixture.ts';

describe("the node's lease", () => {
  let fixture: LauncherFixture;
  let path: string;
  let lease: NodeLease;
  before(() => {
    fixture = new LauncherFixture();
    path = join(fixture.dir, 'lease');
    lease = openNodeLease(path, bootTime);
  });
  after(() => fixture.dispose());

  it('is none before one was set, and is read by the next daemon', () => {
    equal(lease.read(), undefined);
    lease.set(lease.now() + 60_000.5);
    const next = openNodeLease(path, bootTime);
    equal(next.read(), lease.read());
    lease.set(Infinity);
    equal(next.read(), Infinity);
  });

  it('of an earlier boot says nothing', () => {
    const other = join(fixture.dir, 'other');
    openNodeLease(other, bootTime).set(Infinity);
    const text = Buffer.alloc(44, 0xff);
    writeFileSync(other, text);
    equal(openNodeLease(other, bootTime).read(), undefined);
    rmSync(other);
  });

  it('takes its containers with it, all of their processes, with nobody else there', async () => {
    lease.set(lease.now() + 400);
    const container = fixture.script('trap "" TERM; (trap "" TERM; sleep 1000) & while true; do sleep 1; done');
    await container.start({ lease: path });
    const exit = await container.ended();
    deepEqual([exit.code, exit.leaseOver], [137, true]);
    ok((lease.read() ?? Infinity) <= lease.now(), 'not before its end');
    deepEqual(fixture.leftovers(), []);
  });

  it('that is moved on lets them run, and one without end that gets one ends them', async () => {
    // Time enough to start both on a machine that is busy.
    lease.set(lease.now() + 3000);
    const short = fixture.script('sleep 4; exit 7');
    const long = fixture.script('sleep 1000');
    await short.start({ lease: path });
    await long.start({ lease: path });
    lease.set(Infinity);
    const exit = await short.ended();
    deepEqual([exit.code, exit.leaseOver], [7, undefined]);
    lease.set(lease.now());
    equal((await long.ended()).leaseOver, true);
  });

  it('does nothing to containers that are not tied to it', async () => {
    lease.set(lease.now());
    const { exit } = await fixture.script('exit 3').run();
    deepEqual([exit.code, exit.leaseOver], [3, undefined]);
  });

  it('that is over, or not there, starts nothing', async () => {
    lease.set(lease.now());
    await rejects(fixture.script('true').start({ lease: path }), /the node's lease is over/);
    await rejects(fixture.script('true').start({ lease: `${path}-none` }), /opening the lease/);
    deepEqual(fixture.leftovers(), []);
  });
});

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const WEB = `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { replicas: 4 }
    secrets: [word]
secrets:
  word: { file: word.txt }
`;

describe('a cluster that has lost two of three managers for good', function () {
  let lab: Lab;
  let folder: string;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsfnc', 4);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
    folder = lab.machine(2).project('shop', { 'compose.yaml': WEB, 'word.txt': 'xyzzy' });
    lab.machine(2).composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const force = (index: number) => lab.machine(index).run('tsswarm', 'init', '--force-new-cluster');
  const refused = (index: number, message: RegExp): void => {
    const { code, stderr, stdout } = force(index);
    assert.notEqual(code, 0, stdout);
    assert.match(stderr, message);
  };
  const nodes = (via: number): string[] =>
    lab
      .machine(via)
      .ok('tsswarm', 'node', 'ls')
      .match(/\bm\d\s.*/g)
      ?.map((line) => line.replace(/\s+\S+$/, '').replace(/\s+/g, ' ')) ?? [];
  const running = (via: number): string[] =>
    (
      lab
        .machine(via)
        .ok('tsswarm', 'ps')
        .match(/\bm\d\s+running\s+running/g) ?? []
    )
      .map((text) => text.slice(0, 2))
      .sort();

  it('is not forced while there is a quorum, nor on a worker', () => {
    refused(2, /the managers have a quorum/);
    refused(3, /this node is a worker/);
  });

  it('decides nothing until it is forced, and goes on then with all that it had', async () => {
    await lab.kill(0);
    await lab.kill(1);
    await eventually(() => (lab.machine(2).run('tsswarm', 'node', 'ls').code === 0 ? undefined : true), 'no leader');
    const said = lab.machine(2).ok('tsswarm', 'init', '--force-new-cluster');
    assert.match(said, /the only manager/);
    assert.match(said, /m0\n[^]*m1\n/);
    assert.deepEqual(nodes(2)[0], 'm2 Ready Active Leader');
    await eventually(
      () => (nodes(2).join() === 'm2 Ready Active Leader,m3 Ready Active' ? true : undefined),
      'the worker',
    );
    await eventually(
      () => (running(2).length === 4 && running(2).every((node) => ['m2', 'm3'].includes(node)) ? true : undefined),
      'all tasks on what is left',
    );
    assert.equal(lab.machine(2).composeOk(folder, 'exec', '-T', 'web', 'cat', '/run/secrets/word'), 'xyzzy');
    refused(2, /only manager already/);
  });

  it('keeps its state over a restart, and needs nobody', async () => {
    await lab.kill(2);
    lab.start(2);
    assert.deepEqual(nodes(2)[0], 'm2 Ready Active Leader');
  });

  it('is not disturbed by the old managers, though they have a majority of what they know', async () => {
    lab.start(0);
    lab.start(1);
    await eventually(
      () => (lab.machine(0).run('tsswarm', 'node', 'ls').code === 0 ? true : undefined),
      'the old managers at work',
    );
    for (let i = 0; i < 10; i++) lab.machine(2).ok('tsswarm', 'node', 'update', '--label-add', `round=${i}`, 'm2');
    assert.deepEqual(nodes(2), ['m2 Ready Active Leader', 'm3 Ready Active']);
    assert.equal(running(2).length, 4);
    assert.doesNotMatch(lab.machine(0).ok('tsswarm', 'node', 'inspect', 'm2'), /"round"/);
  });

  it('takes new managers, the old machines among them', async () => {
    for (const index of [0, 1]) lab.machine(index).ok('tsswarm', 'leave', '--force');
    for (const index of [0, 1]) {
      lab.join(index, lab.machine(2).ok('tsswarm', 'join-token', '-q', 'manager').trim(), 2);
      const managers = index + 2;
      await eventually(
        () => (nodes(2).filter((line) => /(Leader|Reachable)$/.test(line)).length === managers ? true : undefined),
        `${managers} managers`,
      );
    }
    await lab.kill(2);
    await eventually(
      () => (lab.machine(0).run('tsswarm', 'node', 'ls').code === 0 ? true : undefined),
      'another leader',
    );
    lab.start(2);
  });

  it('is forced on a machine that was switched off, and by the start after a crash in the middle', async () => {
    await eventually(() => (nodes(2).length === 4 ? true : undefined), 'all nodes');
    await Promise.all([0, 1, 2].map((index) => lab.kill(index)));
    assert.match(lab.machine(1).ok('tsswarm', 'init', '--no-systemd', '--force-new-cluster'), /the only manager/);
    assert.deepEqual(nodes(1)[0], 'm1 Ready Active Leader');
    assert.equal(lab.machine(1).run('tsswarm', 'ps').code, 0);
    // The mark that the command makes before anything else.
    writeFileSync(join(lab.machine(2).stateDir, 'manager', 'force-new-cluster'), '');
    lab.start(2);
    assert.deepEqual(nodes(2)[0], 'm2 Ready Active Leader');
    assert.ok(!existsSync(join(lab.machine(2).stateDir, 'manager', 'force-new-cluster')));
    assert.ok(nodes(1).every((line) => !line.startsWith('m2 ')) && nodes(2).every((line) => !line.startsWith('m1 ')));
  });
});

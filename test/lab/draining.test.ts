import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

/** A service on the first machine that stops when it is let, and somebody on the second who knows its name. */
const SHOP = `services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 60s
    ports: ["8080:80"]
    pre_stop:
      - command: sh -c 'touch /tmp/stopping; while [ ! -e /tmp/go ]; do sleep 0.05; done'
    deploy: { placement: { constraints: [node.hostname == m0] } }
  client:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    deploy: { placement: { constraints: [node.hostname == m1] } }
`;

describe('stopping a container that other machines lead to', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsdra', 2);
    lab.form(1);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  it('begins when they do not any more: names and ports are gone before the first thing that it is told', async () => {
    const folder = lab.machine(0).project('shop', { 'compose.yaml': SHOP });
    const [first, second] = [lab.machine(0), lab.machine(1)];
    first.composeOk(folder, 'up', '-d', '--wait');
    const address = first.composeOk(folder, 'exec', '-T', 'web', 'hostname', '-i').trim();
    assert.match(address, /^\d+(\.\d+){3}$/);
    /** What the second machine's kernel leads to the first one, its containers to the container, and the names that they find. */
    const ports = (): boolean => / : 169\.254\.\d+\.\d+ \. 8080/.test(second.ok('nft', 'list', 'ruleset'));
    const namespaces = join(second.dir, 'run', 'engine', 'netns');
    const virtual = (): boolean =>
      readdirSync(namespaces).some((id) =>
        execFileSync('nsenter', [`--net=${join(namespaces, id)}`, 'nft', 'list', 'ruleset'], {
          encoding: 'utf8',
        }).includes(` : ${address}`),
      );
    const resolve = (): string => first.compose(folder, 'exec', '-T', 'client', 'nslookup', 'tasks.web').stdout;
    await eventually(() => (ports() && virtual() ? true : undefined), 'the port and the virtual address lead there');
    await eventually(() => (resolve().includes(address) ? true : undefined), 'the name on the other machine');
    const stop = first.start('tscompose', '-f', `${folder}/compose.yaml`, 'stop', 'web');
    const ended = new Promise((done) => stop.once('exit', done));
    await eventually(
      () => (first.compose(folder, 'exec', '-T', 'web', 'test', '-e', '/tmp/stopping').code === 0 ? true : undefined),
      'the hook before the stop',
    );
    assert.ok(!ports(), 'ports');
    assert.ok(!virtual(), 'virtual addresses');
    assert.ok(!resolve().includes(address), resolve());
    first.composeOk(folder, 'exec', '-T', 'web', 'touch', '/tmp/go');
    assert.equal(await ended, 0);
    first.composeOk(folder, 'down');
  });
});

import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const SHOP = `services:
  web:
    image: busybox
    init: true
    command: sh -c 'mkdir /www; hostname -i > /www/index.html; exec httpd -f -p 80 -h /www'
    stop_grace_period: 1s
    deploy: { replicas: 3 }
  client:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
`;

describe('virtual addresses on one machine', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsvip', 1);
    lab.form(1);
    lab.machine(0).load(['busybox']);
  });
  after(() => lab.dispose());

  it('are what the name leads to, and lead to every container in turn', async () => {
    const machine = lab.machine(0);
    const folder = machine.project('shop', { 'compose.yaml': SHOP });
    machine.composeOk(folder, 'up', '-d', '--wait');
    const inside = (...argv: readonly string[]): string =>
      machine.compose(folder, 'exec', '-T', 'client', ...argv).stdout;
    const [, virtual] = /Name:\s+web\s+Address(?: 1)?: (\S+)/.exec(inside('nslookup', 'web')) ?? [];
    assert.ok(virtual !== undefined, inside('nslookup', 'web'));
    const answers = inside('sh', '-c', 'for i in $(seq 40); do wget -qO- web; done').trim().split('\n');
    assert.equal(answers.length, 40, answers.join(' '));
    assert.equal(new Set(answers).size, 3, answers.join(' '));
    assert.ok(!answers.includes(virtual));
    machine.composeOk(folder, 'scale', 'web=1');
    const rest = inside('sh', '-c', 'for i in $(seq 10); do wget -qO- web; done').trim().split('\n');
    assert.deepEqual([rest.length, new Set(rest).size], [10, 1]);
    machine.composeOk(folder, 'scale', 'web=0');
    assert.match(machine.compose(folder, 'exec', '-T', 'client', 'wget', '-qO-', 'web').stderr, /refused/);
    machine.composeOk(folder, 'scale', 'web=2');
    await eventually(() => (inside('wget', '-qO-', 'web') === '' ? undefined : true), 'an answer');
    assert.match(inside('nslookup', 'web'), new RegExp(`Address(?: 1)?: ${virtual}\\b`), 'the address is kept');
    machine.composeOk(folder, 'down');
  });
});

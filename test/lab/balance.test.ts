import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
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

/** Says its name and who has called it. */
const answering = (service: string, more: string): string => `  ${service}:
    image: busybox
    init: true
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\\necho; echo $$(hostname) $$REMOTE_ADDR\\n' > /www/cgi-bin/who
        chmod +x /www/cgi-bin/who
        exec httpd -f -p 80 -h /www
    stop_grace_period: 1s
${more}`;

describe('published ports of several machines', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsing', 3);
    lab.form(1);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  /** What calls to a port are answered: "<container's host name> <caller>". @param netns file of the caller's namespace */
  const ask = (netns: string, address: string, port: number, times: number): readonly string[] => {
    const url = `http://${address}:${port}/cgi-bin/who`;
    const script = `for i in $(seq ${times}); do curl -sf -m 3 ${url} || echo failed; done`;
    return execFileSync('nsenter', [`--net=${netns}`, 'bash', '-c', script], { encoding: 'utf8' })
      .trim()
      .split('\n');
  };
  const netnsOf = (name: string): string => `/var/run/netns/${name}`;
  const callers = (answers: readonly string[]): readonly string[] =>
    [...new Set(answers.map((answer) => answer.replace(/^\S+ \[::ffff:(\S+)\]$/, '$1')))].sort();

  it('answer on every machine, with the caller’s address where the container is on the one that was called', async () => {
    const web = answering(
      'web',
      `    ports: ["8080:80"]
    deploy:
      replicas: 2
      placement: { constraints: [node.hostname != m2], max_replicas_per_node: 1 }
`,
    );
    const first = lab.machine(0);
    const folder = first.project('web', { 'compose.yaml': `services:\n${web}` });
    first.composeOk(folder, 'up', '-d', '--wait');
    const { namespace, host } = lab.openSwitch();
    await eventually(
      () => (new Set(ask(netnsOf(namespace), lab.address(2), 8080, 8)).size === 2 ? true : undefined),
      'both containers, by a machine that has none',
    );
    for (const index of [0, 1, 2]) {
      const answers = ask(netnsOf(namespace), lab.address(index), 8080, 30);
      assert.ok(!answers.includes('failed'), answers.join('\n'));
      assert.equal(new Set(answers.map((answer) => answer.split(' ')[0])).size, 2, answers.join('\n'));
      const seen = callers(answers);
      assert.equal(seen.includes(host), index !== 2, seen.join(' '));
      assert.ok(
        seen.some((caller) => caller.startsWith('169.254.')),
        seen.join(' '),
      );
      const own = ask(netnsOf(lab.machine(index).name), '127.0.0.1', 8080, 10);
      assert.ok(!own.includes('failed'), own.join('\n'));
    }
    // A container on the machine that has none of the service.
    first.ok(
      'tsswarm',
      'service',
      'create',
      '--name',
      'caller',
      '--constraint',
      'node.hostname==m2',
      '--init',
      'busybox',
      'sleep',
      '1000',
    );
    const folderOfNamespaces = join(lab.machine(2).dir, 'run', 'engine', 'netns');
    const [container = ''] = readdirSync(folderOfNamespaces);
    const inside = ask(join(folderOfNamespaces, container), lab.address(2), 8080, 5);
    assert.ok(!inside.includes('failed'), inside.join('\n'));
    const mesh = /169\.254\.\d+\.\d+/.exec(first.inside(['ip', '-br', 'address', 'show', 'ts-mesh']))?.[0] ?? '';
    const [direct] = ask(join(folderOfNamespaces, container), mesh, 8080, 1);
    assert.equal(direct, 'failed', 'containers do not reach the mesh');
    first.ok('tsswarm', 'service', 'rm', 'caller');
    first.composeOk(folder, 'down');
  });
});

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import type { Outcome } from '../e2e/machine.ts';
import { answering } from './answering.ts';
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

describe('published ports of several machines', function () {
  let lab: Lab;
  let caller: ReturnType<Lab['openSwitch']>;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsing', 3);
    caller = lab.openSwitch();
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
    const { namespace, host } = caller;
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

  it('show every caller’s address where the port keeps it, on whichever machine the container is', async () => {
    const web = answering(
      'web',
      `    ports: [{ published: 8081, target: 80, x-source: keep }]
    deploy:
      replicas: 2
      placement: { constraints: [node.hostname != m2], max_replicas_per_node: 1 }
`,
    );
    const first = lab.machine(0);
    const folder = first.project('keep', { 'compose.yaml': `services:\n${web}` });
    first.composeOk(folder, 'up', '-d', '--wait');
    for (const index of [0, 1, 2]) {
      await eventually(
        () => (new Set(ask(netnsOf(caller.namespace), lab.address(index), 8081, 8)).size === 2 ? true : undefined),
        `both containers, by machine ${index}`,
      );
      const answers = ask(netnsOf(caller.namespace), lab.address(index), 8081, 20);
      assert.deepEqual(callers(answers), [caller.host], answers.join('\n'));
      // Machines of the cluster themselves, by any of them.
      for (const [from, at] of [
        [index, '127.0.0.1'],
        [index, lab.address((index + 1) % 3)],
      ] as const) {
        const own = ask(netnsOf(lab.machine(from).name), at, 8081, 10);
        assert.ok(!own.includes('failed'), `${from} ${at}: ${own.join('\n')}`);
        assert.equal(new Set(own.map((answer) => answer.split(' ')[0])).size, 2, own.join('\n'));
        // Not seen as it is where its own address would be a foreign one: on loopback, and by a container on its own machine.
        if (from === 2 && at !== '127.0.0.1') assert.deepEqual(callers(own), [lab.address(2)], own.join('\n'));
      }
    }
    // In place, without another container.
    const before = first.composeOk(folder, 'ps', '-q', 'web');
    first.project('keep', { 'compose.yaml': `services:\n${web.replace(', x-source: keep', '')}` });
    first.composeOk(folder, 'up', '-d', '--wait');
    await eventually(
      () => (callers(ask(netnsOf(caller.namespace), lab.address(2), 8081, 4)).includes(caller.host) ? undefined : true),
      'the address of the machine instead',
    );
    assert.equal(first.composeOk(folder, 'ps', '-q', 'web'), before);
    assert.equal(first.inside(['ip', 'rule', 'list', 'priority', '32700']), '');
    first.composeOk(folder, 'down');
  });

  it('of the same number on different addresses lead to their own services, on whichever machine these are', async () => {
    const on = (machine: number, at: number): string => `    ports: ["${lab.address(at)}:8082:80"]
    hostname: at-m${at}
    deploy: { placement: { constraints: [node.hostname == m${machine}] } }
`;
    const first = lab.machine(0);
    const services = [answering('a', on(1, 0)), answering('b', on(2, 1)), answering('c', on(0, 2))].join('');
    const folder = first.project('same', { 'compose.yaml': `services:\n${services}` });
    first.composeOk(folder, 'up', '-d', '--wait');
    for (const index of [0, 1, 2])
      await eventually(() => {
        const answers = ask(netnsOf(caller.namespace), lab.address(index), 8082, 5);
        return answers.every((answer) => answer.startsWith(`at-m${index} `)) ? true : undefined;
      }, `the service at the address of machine ${index}`);
    first.composeOk(folder, 'down');
  });

  it('answer over IPv6 on every machine where their network has it', async () => {
    const wire = (namespace: string, device: string, host: number): string =>
      execFileSync('ip', ['-n', namespace, 'address', 'add', `2001:db8:77::${host}/64`, 'dev', device, 'nodad'], {
        encoding: 'utf8',
      });
    wire(caller.namespace, 'bridge', 200);
    for (const index of [0, 1, 2]) wire(lab.machine(index).name, 'wire', index + 1);
    const web = answering(
      'web',
      `    ports: ["8083:80"]
    deploy:
      replicas: 2
      placement: { constraints: [node.hostname != m2], max_replicas_per_node: 1 }
`,
    );
    const first = lab.machine(0);
    const compose = `services:\n${web}networks: { default: { enable_ipv6: true } }\n`;
    const folder = first.project('six', { 'compose.yaml': compose });
    first.composeOk(folder, 'up', '-d', '--wait');
    for (const index of [2, 0, 1]) {
      const answers = await eventually(() => {
        const found = ask(netnsOf(caller.namespace), `[2001:db8:77::${index + 1}]`, 8083, 12);
        return new Set(found.map((answer) => answer.split(' ')[0])).size === 2 && !found.includes('failed')
          ? found
          : undefined;
      }, `both containers over IPv6, by machine ${index}`);
      // Those of the machine that was called see who calls.
      assert.equal(
        answers.some((answer) => answer.includes('[2001:db8:77::200]')),
        index !== 2,
        answers.join('\n'),
      );
    }
    first.composeOk(folder, 'down');
  });

  /** Goes on answering what was asked for a moment after it has been told to end, as servers do. */
  const patient = (version: string): string => `services:
  web:
    image: busybox
    init: true
    environment: { VERSION: "${version}" }
    command:
      - sh
      - -c
      - |
        mkdir /www; echo $$VERSION > /www/index.html
        httpd -f -p 80 -h /www & trap 'sleep 1; exit 0' TERM; wait
    healthcheck: { test: [CMD, wget, -qO, /dev/null, "http://127.0.0.1/"], interval: 200ms }
    stop_grace_period: 5s
    ports: ["8080:80"]
    deploy:
      replicas: 3
      update_config: { parallelism: 1, monitor: 100ms }
  client:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    deploy: { placement: { constraints: [node.hostname == m2] } }
`;

  /** Calls again and again until a file says that it is enough. @returns what failed, and how many calls there were */
  const load = (folder: string): { readonly end: () => Promise<{ failed: number; total: number }> } => {
    const count =
      'n=0; f=0; while [ ! -e /tmp/enough ]; do timeout 3 wget -qO- "$1" > /dev/null || f=$((f+1)); n=$((n+1)); done; echo "$f $n"';
    const run = lab
      .machine(0)
      .start(
        'tscompose',
        '-f',
        `${folder}/compose.yaml`,
        'exec',
        '-T',
        'client',
        'sh',
        '-c',
        count,
        'sh',
        'http://web/',
      );
    const outside = spawn('nsenter', [`--net=${netnsOf(lab.machine(2).name)}`, 'sh', '-c', outsideLoop(folder)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const results = [run, outside].map(async (child) => {
      let text = '';
      for await (const part of child.stdout) text += String(part);
      const [failed = NaN, total = NaN] = text.trim().split(' ').map(Number);
      return { failed, total };
    });
    return {
      async end() {
        lab.machine(0).composeOk(folder, 'exec', '-T', 'client', 'touch', '/tmp/enough');
        writeFileSync(join(folder, 'enough'), '');
        const both = await Promise.all(results);
        lab.machine(0).composeOk(folder, 'exec', '-T', 'client', 'rm', '/tmp/enough');
        rmSync(join(folder, 'enough'));
        return {
          failed: both.reduce((sum, one) => sum + one.failed, 0),
          total: Math.min(...both.map((one) => one.total)),
        };
      },
    };
  };
  const outsideLoop = (folder: string): string =>
    `n=0; f=0; while [ ! -e ${folder}/enough ]; do curl -sf -m 2 -o /dev/null http://127.0.0.1:8080/ || f=$((f+1)); n=$((n+1)); done; echo "$f $n"`;

  it('and virtual addresses fail nobody while everything is replaced, and lead to nobody who was killed', async () => {
    const first = lab.machine(0);
    const folder = first.project('patient', { 'compose.yaml': patient('1') });
    first.composeOk(folder, 'up', '-d', '--wait');
    const inside = (): Outcome =>
      first.compose(folder, 'exec', '-T', 'client', 'timeout', '3', 'wget', '-qO-', 'http://web/');
    await eventually(() => (inside().code === 0 ? true : undefined), 'the service by its name');
    const calls = load(folder);
    first.project('patient', { 'compose.yaml': patient('2') });
    first.composeOk(folder, 'up', '-d', '--wait');
    const { failed, total } = await calls.end();
    assert.equal(failed, 0, `${failed} of ${total}`);
    assert.ok(total > 20, `${total} calls`);
    assert.equal(inside().stdout, '2\n');

    // One is killed, and not started again: its machine is told to run nothing.
    const ids = first.composeOk(folder, 'ps', '-q', 'web').trim().split('\n');
    assert.equal(ids.length, 3);
    first.compose(folder, 'kill', '-s', 'KILL', 'web');
    await eventually(() => (inside().code === 0 ? true : undefined), 'a container that was started again');
    const again = load(folder);
    await eventually(
      () => (first.composeOk(folder, 'ps', '-q', 'web').trim().split('\n').length === 3 ? true : undefined),
      'three again',
    );
    assert.equal((await again.end()).failed, 0);
    first.composeOk(folder, 'down');
  });
});

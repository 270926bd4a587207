import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { eventually } from '../e2e/machine.ts';
import { answering } from './answering.ts';
import { Lab } from './lab.ts';

const PROJECT = `services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 1s
    deploy: {mode: global}
  client:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    deploy: {mode: global}
networks:
  default: {enable_ipv6: true}
`;

const twoAt = (port: string): string =>
  `services:\n${answering(
    'who',
    `    ports: [${port}]
    deploy: { replicas: 2, placement: { max_replicas_per_node: 1 } }`,
  )}\n`;

const KEEPING = `${twoAt('{ published: 8081, target: 80, x-source: keep }')}
networks:
  default: {enable_ipv6: true}
`;

/** On the wire, beside the IPv4 addresses that the machines reach each other by. */
const wire = (index: number): string => `fd66::${index + 1}`;
const CALLER = 'fd66::200';

const nsenter = (netns: string, ...argv: readonly string[]): string =>
  spawnSync('nsenter', [`--net=/var/run/netns/${netns}`, ...argv], { encoding: 'utf8' }).stdout;

/** What the containers behind a port say: their name and who called them. */
const ask = (netns: string, address: string, times: number): readonly string[] =>
  Array.from(
    { length: times },
    () => nsenter(netns, 'curl', '-gsm', '5', `http://[${address}]:8081/cgi-bin/who`).trim() || 'failed',
  );

/** Whether both containers have answered, and nobody was refused. */
const both = (answers: readonly string[]): boolean =>
  new Set(answers.map((answer) => answer.split(' ')[0])).size === 2 && !answers.includes('failed');

describe('IPv6 between machines', function () {
  let lab: Lab;
  let caller: string;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tssix', 2);
    for (const index of [0, 1])
      lab.machine(index).inside(['ip', 'address', 'add', `${wire(index)}/64`, 'dev', 'wire', 'nodad']);
    caller = lab.openSwitch().namespace;
    nsenter(caller, 'ip', 'address', 'add', `${CALLER}/64`, 'dev', 'bridge', 'nodad');
    lab.form(1);
    for (const index of [0, 1]) lab.machine(index).load(['busybox']);
  });
  after(() => lab.dispose());

  it('reaches containers of the other machine by name', async () => {
    const machine = lab.machine(0);
    const folder = machine.project('shop', { 'compose.yaml': PROJECT });
    machine.composeOk(folder, 'up', '-d', '--wait');
    const clients = machine
      .composeOk(folder, 'ps', '-q', 'client')
      .split('\n')
      .filter((line) => line !== '');
    assert.equal(clients.length, 2);
    const inside = (...argv: readonly string[]): string =>
      machine.compose(folder, 'exec', '-T', 'client', ...argv).stdout;
    const addresses = (name: string): readonly string[] =>
      [...inside('nslookup', '-type=aaaa', name).matchAll(/(?:Address|has AAAA address)(?: \d+)?:? (fd\S+)/g)].map(
        ([, one]) => one ?? '',
      );
    const tasks = await eventually(() => {
      const found = addresses('tasks.web');
      return found.length === 2 ? found : undefined;
    }, 'both tasks to be named');
    for (const address of tasks)
      await eventually(
        () => (/ 0% packet loss/.test(inside('ping6', '-c', '1', '-W', '2', address)) ? true : undefined),
        `${address} to answer`,
      );
    machine.composeOk(folder, 'down');
  });

  it('keeps the caller’s address at a published port, on whichever machine the container is', async () => {
    const machine = lab.machine(0);
    const folder = machine.project('keeping', { 'compose.yaml': KEEPING });
    machine.composeOk(folder, 'up', '-d', '--wait');
    const callers = (answers: readonly string[]): readonly string[] => [
      ...new Set(answers.map((answer) => answer.split(' ')[1] ?? '')),
    ];
    for (const index of [0, 1]) {
      await eventually(() => (both(ask(caller, wire(index), 8)) ? true : undefined), `both, by machine ${index}`);
      assert.deepEqual(callers(ask(caller, wire(index), 12)), [`[${CALLER}]`]);
      // A machine of the cluster: all answer; a container on itself sees the machine that was called.
      for (const at of [0, 1]) {
        const own = ask(lab.machine(index).name, wire(at), 12);
        assert.ok(both(own), own.join('\n'));
        const seen = callers(own);
        assert.equal(seen.includes(`[${wire(index)}]`), true, own.join('\n'));
        assert.equal(seen.length, 2, own.join('\n'));
      }
    }
    machine.composeOk(folder, 'down');
    assert.equal(machine.inside(['ip', '-6', 'rule', 'list', 'priority', '32700']), '');
  });

  it('leads to a published port of containers that have none, by any machine, while its daemon is away, as long as it is published', async () => {
    const machine = lab.machine(0);
    const folder = machine.project('plain', { 'compose.yaml': twoAt('"8081:80"') });
    machine.composeOk(folder, 'up', '-d', '--wait');
    const relays = (index: number): readonly string[] =>
      lab
        .machine(index)
        .pids()
        .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'tsrelay\n')
        .map(String);
    for (const index of [0, 1]) {
      await eventually(() => (both(ask(caller, wire(index), 8)) ? true : undefined), `both, by machine ${index}`);
      assert.ok(both(ask(lab.machine(index).name, '::1', 12)));
    }
    const before = relays(1);
    assert.equal(before.length, 1);
    await lab.kill(1);
    assert.ok(both(ask(caller, wire(1), 12)));
    lab.start(1);
    assert.ok(both(ask(caller, wire(1), 12)));
    assert.deepEqual(relays(1), before);
    machine.composeOk(folder, 'down');
    await eventually(() => ([0, 1].every((index) => relays(index).length === 0) ? true : undefined), 'the end of both');
    assert.deepEqual(ask(caller, wire(0), 1), ['failed']);
  });
});

import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
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

describe('IPv6 between machines', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tssix', 2);
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
});

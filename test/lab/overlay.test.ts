import assert from 'node:assert/strict';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const NETWORKS = ['one', 'two', 'three'] as const;
/** A service per network on every machine, and one that is on all networks. */
const MATRIX = `services:
${NETWORKS.map(
  (name) => `  on-${name}:
    image: busybox
    command: [httpd, -f, -p, "80", -h, /etc]
    stop_grace_period: 100ms
    networks: [${name}]
    deploy: { mode: global }
`,
).join('')}networks:
${NETWORKS.map((name) => `  ${name}: {}\n`).join('')}`;

/** A container of a task as `tsswarm ps` and `exec` know it. */
interface Seen {
  readonly name: string;
  readonly machine: number;
  readonly network: string;
  readonly address: string;
}

describe('overlay networks', function () {
  let lab: Lab;
  before(function () {
    this.timeout(180_000);
    lab = Lab.create('tsovl', 5);
    lab.form(3);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const run = (from: Seen, ...argv: readonly string[]) =>
    lab.machine(from.machine).runWith({ timeoutMs: 20_000 }, 'tsswarm', 'exec', from.name, ...argv);
  void run;
});

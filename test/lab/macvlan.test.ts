import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

/** Containers are machines on the wire of the lab, 10.77.0.0/24. */
const PROJECT = `services:
  server:
    image: busybox
    command: [sh, -c, "echo page > /page; httpd -f -p 80 -h /"]
    stop_grace_period: 100ms
    networks: { lan: { ipv4_address: 10.77.0.65 } }
    deploy: { placement: { constraints: [node.hostname==m0] } }
  client:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    networks: [lan]
    deploy: { placement: { constraints: [node.hostname==m0] } }
networks:
  lan:
    driver: macvlan
    driver_opts: { parent: lan }
    ipam: { config: [{ subnet: 10.77.0.0/24, gateway: 10.77.0.200, ip_range: 10.77.0.64/27 }] }
`;

describe('macvlan networks', function () {
  let lab: Lab;
  let folder: string;
  let wire: string;
  before(function () {
    this.timeout(180_000);
    lab = Lab.create('tsmac', 2);
    wire = lab.openSwitch().namespace;
    lab.form(1);
    lab.machine(0).load(['busybox']);
    lab.machine(0).ok('tsswarm', 'node', 'update', '--label-add', 'parent.lan=wire', 'm0');
    folder = lab.machine(0).project('lan', { 'compose.yaml': PROJECT });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const inside = (...argv: readonly string[]): string =>
    lab.machine(0).compose(folder, 'exec', '-T', 'client', ...argv).stdout;
  const linksOf = (index: number): readonly string[] =>
    (JSON.parse(lab.machine(index).inside(['ip', '-json', 'link'])) as { ifname: string }[]).map(
      ({ ifname }) => ifname,
    );

  it('lead by name to each other, and to everything on the wire', async () => {
    const page = (): string => inside('wget', '-q', '-O', '-', 'http://server/page').trim();
    await eventually(() => (page() === 'page' ? true : undefined), 'the server');
    assert.match(inside('nslookup', 'server'), /10\.77\.0\.65/);
    assert.match(inside('ping', '-c', '1', '-W', '2', lab.address(1)), /1 packets received/);
    const fromWire = ['--net=/var/run/netns/' + wire, 'curl', '-s', 'http://10.77.0.65/page'];
    assert.equal(execFileSync('nsenter', fromWire, { encoding: 'utf8' }).trim(), 'page');
    assert.match(inside('ip', 'route'), /^default via 10\.77\.0\.200/m);
  });

  it('are made by command, too, and shown with their card', () => {
    const { run, ok } = { run: lab.machine(0).run.bind(lab.machine(0)), ok: lab.machine(0).ok.bind(lab.machine(0)) };
    ok('tsswarm', 'network', 'create', '-d', 'macvlan', '--subnet', '10.78.0.0/24', '--opt', 'parent=wire', 'cards');
    const [shown] = JSON.parse(ok('tsswarm', 'network', 'inspect', 'cards')) as { Driver: string; Scope: string; Options: object }[]; // prettier-ignore
    assert.deepEqual([shown?.Driver, shown?.Scope, shown?.Options], ['macvlan', 'local', { parent: 'wire' }]);
    assert.match(run('tsswarm', 'network', 'create', '-d', 'macvlan', 'bare').stderr, /needs the option "parent"/);
    const service = ['tsswarm', 'service', 'create', '--network', 'cards', '-p', '8080:80', 'busybox'] as const;
    assert.match(run(...service).stderr, /it publishes ports, but is only on macvlan or ipvlan networks/);
    ok('tsswarm', 'network', 'rm', 'cards');
  });

  it('say of a service which nodes cannot have them', async () => {
    const routed = lab.machine(0).project('routed', {
      'compose.yaml': `services: { nowhere: { image: busybox, command: sleep 1000, networks: [routed] } }
networks: { routed: { driver: ipvlan, driver_opts: { parent: eth7 } } }
`,
    });
    const up = lab.machine(0).start('tscompose', '-f', `${routed}/compose.yaml`, 'up', '-d');
    const ended = once(up, 'exit');
    const why = /no suitable node: 2 of 2 have no ipvlan networks|has no interface "eth7"/;
    await eventually(() => (why.test(lab.machine(0).composeOk(routed, 'ps', '-a')) ? true : undefined), 'the reason');
    lab.machine(0).composeOk(routed, 'down');
    up.kill('SIGKILL');
    await ended;
  });

  it('leave no link behind', async () => {
    assert.deepEqual(linksOf(0), ['lo', 'wire'], 'and made none on the node');
    lab.machine(0).composeOk(folder, 'down');
    assert.deepEqual(linksOf(0), ['lo', 'wire']);
  });
});

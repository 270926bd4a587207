import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.ts';

const SERVICE = 'image: busybox, init: true, stop_grace_period: 0s';
/** Serves its host name, and asks for other pages meanwhile. */
const PAGE = 'command: sh -c "mkdir /www && hostname > /www/index.html && httpd -f -p 80 -h /www"';

describe('networks of running containers', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());

  const apply = (networks: string, more = ''): string =>
    machine.project('app', {
      'compose.yaml': `services:
  web: {${SERVICE}, ${PAGE}, hostname: web-host, networks: ${networks}${more}}
  peer: {${SERVICE}, ${PAGE}, hostname: peer-host, networks: [other]}
  sidecar: {${SERVICE}, command: sleep 1000, network_mode: "service:web"}
networks: {default: {}, other: {}, inner: {internal: true}}
`,
    });
  const idOf = (folder: string, service: string): string => machine.composeOk(folder, 'ps', '-q', service).trim();
  const pidOf = (folder: string, service: string): number =>
    (
      JSON.parse(
        readFileSync(join(machine.dir, 'run/engine/containers', idOf(folder, service), 'state.json'), 'utf8'),
      ) as { pid: number }
    ).pid;
  const sh = (folder: string, service: string, script: string): string =>
    machine.composeOk(folder, 'exec', '-T', service, 'sh', '-c', script);
  const asks = (folder: string, service: string, url: string): string =>
    sh(folder, service, `timeout 5 wget -q -O - http://${url}/ 2>&1 || true`).trim();

  it('come, are known under their names on both sides, and go: the process stays', () => {
    const folder = apply('[default]');
    machine.composeOk(folder, 'up', '-d');
    const pid = pidOf(folder, 'web');
    assert.match(asks(folder, 'web', 'peer'), /bad address/);

    apply('{default: {}, other: {aliases: [shop]}}');
    assert.match(machine.composeOk(folder, 'up', '--dry-run'), /task\.networks: live/);
    machine.composeOk(folder, 'up', '-d');
    assert.equal(pidOf(folder, 'web'), pid);
    assert.match(machine.ok('tsswarm', 'service', 'ps', 'app_web'), /live: changed networks/);
    assert.equal(asks(folder, 'web', 'peer'), 'peer-host');
    assert.equal(asks(folder, 'peer', 'web'), 'web-host');
    assert.equal(asks(folder, 'peer', 'shop'), 'web-host');
    // The container that shares its network has it, too, and both know their addresses.
    const own = [...sh(folder, 'sidecar', 'ip addr').matchAll(/inet ([\d.]+)\/24/g)].map(([, address = '']) => address);
    assert.equal(own.length, 2);
    assert.equal(asks(folder, 'sidecar', 'peer'), 'peer-host');
    for (const service of ['web', 'sidecar'])
      for (const address of own) assert.ok(sh(folder, service, 'cat /etc/hosts').includes(address), service);

    apply('{default: {}, other: {aliases: [market]}}');
    machine.composeOk(folder, 'up', '-d');
    assert.equal(asks(folder, 'peer', 'market'), 'web-host');
    assert.match(asks(folder, 'peer', 'shop'), /bad address/);

    apply('[default]');
    machine.composeOk(folder, 'up', '-d');
    assert.equal(pidOf(folder, 'web'), pid);
    assert.match(asks(folder, 'web', 'peer'), /bad address/);
    assert.match(asks(folder, 'peer', 'web'), /bad address/);
    assert.doesNotMatch(sh(folder, 'web', 'ls /sys/class/net'), /eth1/);
  });

  it('lead out by the one with the highest gw_priority, and have the address that the file says', () => {
    const folder = apply('[default]');
    machine.composeOk(folder, 'up', '-d');
    const pid = pidOf(folder, 'web');
    const route = (): string => sh(folder, 'web', 'ip route | grep ^default').trim();
    const first = route();
    apply('{default: {}, inner: {gw_priority: 9}, other: {gw_priority: 1}}');
    machine.composeOk(folder, 'up', '-d');
    const second = route();
    assert.notEqual(second, first);
    assert.match(second, /dev eth[12]/);
    const [subnet = ''] = /\d+\.\d+\.\d+/.exec(second) ?? [];
    apply(`{default: {}, other: {ipv4_address: ${subnet}.77}}`);
    machine.composeOk(folder, 'up', '-d');
    assert.match(sh(folder, 'web', 'ip addr'), new RegExp(`${subnet}\\.77/24`));
    assert.equal(asks(folder, 'peer', `${subnet}.77`), 'web-host');
    assert.equal(route(), first);
    assert.equal(pidOf(folder, 'web'), pid);
  });

  it('are changed by "tsswarm network connect" and "disconnect"', () => {
    const folder = apply('[default]');
    machine.composeOk(folder, 'up', '-d');
    const pid = pidOf(folder, 'web');
    const { stderr } = machine.run('tsswarm', 'network', 'connect', '--alias', 'shop', 'app_other', 'app-web-1');
    assert.match(stderr, /app_web is of project app/);
    assert.equal(asks(folder, 'peer', 'shop'), 'web-host');
    const again = machine.run('tsswarm', 'network', 'connect', 'app_other', 'app_web');
    assert.match(again.stderr, /service app_web is already on network app_other/);
    machine.ok('tsswarm', 'network', 'disconnect', 'app_other', 'app_web');
    assert.match(asks(folder, 'peer', 'shop'), /bad address/);
    assert.match(
      machine.run('tsswarm', 'network', 'disconnect', 'app_default', 'app_web').stderr,
      /app_default is the only one of service app_web/,
    );
    assert.equal(pidOf(folder, 'web'), pid);
  });
});

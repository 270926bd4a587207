import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const MARK = 'this must not be read on the wire';
const END = 'the end of the capture';
const PROJECT = `services:
  server:
    image: busybox
    command: [sh, -c, "for i in $$(seq 200); do echo ${MARK}; done > /page; httpd -f -p 80 -h /"]
    stop_grace_period: 100ms
    networks: [secret, clear]
    deploy: { placement: { constraints: [node.hostname==m1] } }
  client:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    networks: [secret, clear]
    deploy: { placement: { constraints: [node.hostname==m0] } }
networks:
  secret: { driver_opts: { encrypted: "" } }
  clear: {}
`;

describe('encrypted networks', function () {
  let lab: Lab;
  let folder: string;
  let wire: string;
  before(function () {
    this.timeout(180_000);
    lab = Lab.create('tsove', 2);
    wire = lab.openSwitch().namespace;
    lab.form(1);
    for (const machine of lab.machines) machine.load(['busybox']);
    folder = lab.machine(0).project('vault', { 'compose.yaml': PROJECT });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => lab.dispose());

  const inside = (...argv: readonly string[]): string => {
    const { stdout } = lab.machine(0).compose(folder, 'exec', '-T', 'client', ...argv);
    return stdout;
  };
  const addressOf = (network: string): string => {
    const text = lab.machine(0).compose(folder, 'exec', '-T', 'client', 'nslookup', `server.vault_${network}`).stdout;
    return /Address(?: 1)?: (10\.\S+)/.exec(text.split('Name:')[1] ?? '')?.[1] ?? assert.fail(text);
  };
  /** How many lines of the server's page arrive. */
  const fetched = (address: string): number =>
    inside('timeout', '4', 'wget', '-q', '-O', '-', `http://${address}/page`).split(MARK).length - 1;
  /** All that is on the wire while `work` goes on. */
  const captured = async (work: () => void): Promise<Buffer> => {
    const file = join(lab.machine(0).dir, 'capture');
    // Room for many packets, of which the beginning is enough: what finds none is lost.
    const room = ['--immediate-mode', '-U', '-s', '4096', '-B', '16384'];
    const argv = [`--net=/var/run/netns/${wire}`, 'tcpdump', '-Z', 'root', '-i', 'any', ...room, '-w', file];
    const dump = spawn('nsenter', argv, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    dump.stderr.on('data', (data: Buffer) => (said += String(data)));
    await eventually(() => (/listening on/.test(said) ? true : undefined), `tcpdump: ${said}`);
    try {
      work();
      // tcpdump writes a moment later: what comes last tells that everything is there.
      lab.machine(0).ok('bash', '-c', `echo ${END} > /dev/udp/${lab.address(1)}/9`);
      await eventually(() => (readFileSync(file).includes(END) ? true : undefined), 'the end of the capture');
    } finally {
      const ended = once(dump, 'exit');
      dump.kill('SIGINT');
      await ended;
    }
    return readFileSync(file);
  };

  it('carry what they are given, and nobody on the wire can read it', async () => {
    const [secret, clear] = [addressOf('secret'), addressOf('clear')];
    const hidden = await captured(() => assert.equal(fetched(secret), 200));
    assert.ok(hidden.length > 200 * MARK.length, 'it was on the wire');
    assert.ok(!hidden.includes(MARK), 'nobody can read it');
    const open = await captured(() => assert.equal(fetched(clear), 200));
    assert.ok(open.includes(MARK), 'what is not encrypted is read by the same means');
  });

  it('let packets be as large as fits with the encryption around them', () => {
    const sizes = inside('sh', '-c', 'cat /sys/class/net/eth*/mtu').trim().split('\n').sort();
    assert.deepEqual(sizes, ['1390', '1450']);
    assert.match(inside('ping', '-c', '1', '-W', '2', '-s', '1362', addressOf('secret')), /1 packets received/);
  });

  it('say nothing rather than in the clear when the encryption ends, and go on when it is back', async () => {
    const secret = addressOf('secret');
    const machine = lab.machine(0);
    const link = /tsw-[0-9a-z]+/.exec(machine.inside(['ip', '-brief', 'link']))?.[0] ?? '';
    const process_ = machine.pids().find((pid) => commandOf(pid).includes(`wireguard-go\0${link}\0`));
    if (process_ === undefined) {
      assert.ok(existsSync('/sys/module/wireguard'), 'WireGuard is the kernel itself, or a process of this machine');
      machine.inside(['ip', 'link', 'delete', link]);
    } else process.kill(process_, 'SIGKILL');
    const seen = await captured(() => void fetched(secret));
    assert.ok(!seen.includes(MARK));
    await eventually(() => (fetched(secret) === 200 ? true : undefined), 'the way back');
  });

  it('keep their way and their keys while a daemon is killed and started again', async () => {
    const keys = (): string => lab.machine(1).inside(['wg', 'show', linkOf(1), 'public-key']);
    const before = keys();
    await lab.kill(1);
    assert.equal(fetched(addressOf('secret')), 200, 'without the daemon');
    lab.start(1);
    await eventually(
      () => (lab.machine(0).ok('tsswarm', 'node', 'ls').includes('Down') ? undefined : true),
      'the node back',
    );
    assert.equal(fetched(addressOf('secret')), 200, 'with the next one');
    assert.equal(keys(), before);
  });

  it('are given up with the last of them: nothing is left running', async () => {
    const links = [linkOf(0), linkOf(1)];
    assert.ok(links.every((link) => link !== ''));
    lab.machine(0).composeOk(folder, 'down');
    for (const [index, link] of links.entries()) {
      await eventually(() => (linkOf(index) === '' ? true : undefined), 'the link gone', 60_000);
      const isRunning = (): boolean => readdirSync('/proc').some((pid) => commandOf(Number(pid)).includes(link));
      await eventually(() => (isRunning() ? undefined : true), 'no process');
    }
  });

  const linkOf = (index: number): string =>
    /tsw-[0-9a-z]+/.exec(lab.machine(index).inside(['ip', '-brief', 'link']))?.[0] ?? '';
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

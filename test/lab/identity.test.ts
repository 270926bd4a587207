import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cfssl } from '../builders/cfssl.ts';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

const WEB = `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { replicas: 5 }
`;
const CRASH = `services:
  crash:
    image: busybox
    command: [sh, -c, 'exit 1']
    restart: always
    deploy: { restart_policy: { delay: 100ms } }
`;
/** Shifts the wall clock of the processes that it is loaded into, and of nothing else. */
const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
/** A machine that is in no cluster at first. */
const STRANGER = 5;

describe('the identity of a cluster', function () {
  let lab: Lab;
  before(function () {
    this.timeout(120_000);
    lab = Lab.create('tsid', 6);
    lab.form(3, 5);
    for (const machine of lab.machines.slice(0, 5)) machine.load(['busybox']);
  });
  after(() => lab.dispose());

  const ok = (...argv: readonly string[]): string => lab.machine(0).ok('tsswarm', ...argv);
  const nodeList = (format: string, ...more: readonly string[]): string[] =>
    ok('node', 'ls', '--format', format, ...more)
      .split('\n')
      .filter(Boolean);
  const token = (role: string, via = 0): string => lab.machine(via).ok('tsswarm', 'join-token', '-q', role).trim();
  const refused = (index: number, message: RegExp, hint: RegExp, ...argv: readonly string[]): void =>
    refusedWith({}, index, message, hint, ...argv);
  const refusedWith = (
    env: Record<string, string>,
    index: number,
    message: RegExp,
    hint: RegExp,
    ...argv: readonly string[]
  ): void => {
    const { code, stderr, stdout } = lab.machine(index).runWith({ env }, 'tsswarm', ...argv);
    assert.notEqual(code, 0, `${argv.join(' ')}: ${stdout}`);
    assert.match(stderr, message);
    assert.match(/\nhint: (.*)/.exec(stderr)?.[1] ?? '', hint);
  };
  const joining = (text: string, to: string, ...flags: readonly string[]): readonly string[] => [
    'join',
    '--no-systemd',
    '--token',
    text,
    ...flags,
    to,
  ];
  const seen = (look: () => boolean, what: string): Promise<true> =>
    eventually(() => (look() ? true : undefined), what);
  /** "m0/<task id>": a container that is replaced, or started again, is another task. */
  const containers = (): string[] =>
    [0, 1, 2, 3, 4].flatMap((index) =>
      ok('node', 'ps', `m${index}`, '-f', 'desired-state=running', '--no-trunc', '--format', '{{.Node}}/{{.ID}}')
        .split('\n')
        .filter(Boolean),
    );

  it('shows nodes and tasks as docker does', async () => {
    await eventually(
      () => (nodeList('{{.Status}}').every((status) => status === 'Ready') ? true : undefined),
      'all nodes ready',
    );
    assert.deepEqual(nodeList('{{.Hostname}} {{.ManagerStatus}} {{.TLSStatus}}'), [
      'm0 Leader Ready',
      'm1 Reachable Ready',
      'm2 Reachable Ready',
      'm3  Ready',
      'm4  Ready',
    ]);
    ok('node', 'update', '--label-add', 'disk=ssd', 'm3');
    assert.deepEqual(nodeList('{{.Hostname}}', '-f', 'role=worker', '-f', 'label=disk=ssd'), ['m3']);
    assert.deepEqual(nodeList('{{.Hostname}}', '-f', 'name=m1', '-f', 'name=m4'), ['m1', 'm4']);
    assert.equal(ok('nodes', '-q'), ok('node', 'ls', '-q'));
    refused(0, /there is no field "Nope", expected one of ID, Hostname/, /as '/, 'node', 'ls', '--format', '{{.Nope}}');
    assert.equal(ok('node', 'inspect', 'm3', '-f', '{{.Spec.Role}} {{index .Spec.Labels "disk"}}'), 'worker ssd\n');
    assert.equal(ok('node', 'inspect', 'self', '--format', '{{.Status.Addr}}'), `${lab.address(0)}\n`);
    const pretty = ok('node', 'inspect', '--pretty', 'self');
    assert.match(pretty, /^ID: .*\nLabels:\nHostname: +m0\nJoined at: /);
    assert.match(pretty, /Manager Status:\n Address: +10\.77\.0\.1:2377\n Raft Status: +Reachable\n Leader: +Yes\n/);
    const folder = lab.machine(0).project('shop', { 'compose.yaml': WEB });
    lab.machine(0).composeOk(folder, 'up', '-d', '--wait');
    assert.match(
      ok('node', 'ps', 'm3'),
      /^ID +NAME +IMAGE +NODE +DESIRED STATE +CURRENT STATE +ERROR +PORTS +APPLIED\n/,
    );
    assert.match(ok('node', 'ps', 'm3'), /shop-web-\d +busybox +m3 +Running +Running .* ago/);
    assert.match(ok('node', 'ps', '--format', '{{.Name}} {{.Node}}'), /^shop-web-\d m0\n$/);
    assert.equal(ok('node', 'ps', 'm3', '-f', 'desired-state=shutdown', '-q'), '');
    assert.equal(containers().length, 5);
  });

  it('goes to a new root while everything runs, and waits for a node that is switched off', async () => {
    const [root, worker, before] = [ok('ca'), token('worker'), containers()];
    await lab.kill(4);
    await eventually(() => (nodeList('{{.Status}}', '-f', 'name=m4').includes('Down') ? true : undefined), 'm4 down');
    const rotating = lab.machine(0).start('tsswarm', 'ca', '--rotate');
    let said = '';
    rotating.stderr.on('data', (text: Buffer) => (said += text.toString()));
    const ended = once(rotating, 'close');
    for (let count = 0; count < 5; count++)
      lab.machine(count % 3).ok('tsswarm', 'node', 'update', '--label-add', `count=${count}`, 'm1');
    await eventually(() => {
      const now = nodeList('{{.Hostname}} {{.TLSStatus}}');
      return now.filter((line) => line.endsWith(' Ready')).length === 4 ? true : undefined;
    }, 'new certificates on four nodes');
    assert.deepEqual(nodeList('{{.Hostname}}', '-f', 'name=m4'), ['m4']);
    await seen(() => said.includes('Certificates of the new root  4/5 nodes\n'), 'what has been done so far');
    assert.match(said, /Node m4 {2}Down {2}it is down and holds the rotation up: start it, or take it out/);
    rotating.kill('SIGINT');
    assert.deepEqual(await ended, [130, null]);
    assert.match(said, /The rotation goes on: "tsswarm ca" shows how far it is\.\n$/);
    const { stdout, stderr } = lab.machine(1).run('tsswarm', 'ca');
    assert.equal(stdout, root, 'the root that is left');
    assert.match(stderr, /a rotation is under way.*: 4\/5 nodes use the new one\nwaiting for m4: it is down and holds/);
    refused(2, /a rotation is under way, 1 of 5 nodes have not renewed/, /m4 \(\w+, down\)/, 'ca', '--rotate');
    lab.start(4);
    await eventually(() => (ok('ca') === root ? undefined : true), 'the end of the rotation');
    // Sessions begin anew with the new roots: a node is down for the moment in which the leader has heard the old one's end only.
    const all = [0, 1, 2, 3, 4].map((index) => `m${index} Ready Ready`).join();
    await eventually(
      () => (nodeList('{{.Hostname}} {{.Status}} {{.TLSStatus}}').join() === all ? true : undefined),
      'five nodes that are ready',
    );
    for (const line of before.filter((one) => !one.startsWith('m4/')))
      assert.ok(containers().includes(line), `${line} runs on`);
    refused(STRANGER, /root that was rotated out/, /tsswarm join-token/, ...joining(worker, lab.address(0)));
    lab.join(STRANGER, token('worker'), 1);
    await eventually(() => (nodeList('{{.Status}}').length === 6 ? true : undefined), 'the sixth node');
    lab.machine(STRANGER).ok('tsswarm', 'leave');
  });

  it('goes on to the new root when the leader is killed in the middle', async () => {
    const [root, before] = [ok('ca'), containers()];
    assert.match(nodeList('{{.Hostname}} {{.ManagerStatus}}').join(), /m\d Leader/);
    const leader = Number(/m(\d) Leader/.exec(nodeList('{{.Hostname}} {{.ManagerStatus}}').join())?.[1]);
    lab.machine(leader).ok('tsswarm', 'ca', '--rotate', '-d');
    await lab.kill(leader);
    const other = leader === 1 ? 2 : 1;
    await eventually(() => {
      const { code, stderr } = lab.machine(other).run('tsswarm', 'ca');
      return code === 0 && stderr.includes(': 4/5 nodes use the new one') ? true : undefined;
    }, 'all others with certificates of another leader');
    lab.start(leader);
    await eventually(
      () => (lab.machine(other).run('tsswarm', 'ca').stdout === root ? undefined : true),
      'the end of it',
    );
    await eventually(
      () => (nodeList('{{.Status}} {{.TLSStatus}}').every((line) => line === 'Ready Ready') ? true : undefined),
      'all nodes ready',
    );
    assert.deepEqual(containers(), before);
  });

  it('goes to a root that the user brings, shows how far it is, and ends what stands on the old one', async () => {
    const dir = lab.machine(0).dir;
    const [key, certificate] = [join(dir, 'ca.key'), join(dir, 'ca.pem')];
    lab
      .machine(0)
      .inside(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '400']
          .concat(['-subj', '/CN=our own root/O=we', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'])
          .concat(['-keyout', key, '-out', certificate]),
      );
    const before = containers();
    // A stream between a manager and a worker, that would stand for ever.
    const index = /^shop-web-(\d)$/m.exec(ok('node', 'ps', 'm3', '--format', '{{.Name}}'))?.[1] ?? '';
    const folder = join(dir, 'shop', 'compose.yaml');
    const inside = ['exec', '-T', '--index', index, 'web', 'sh', '-c', 'echo here; exec sleep 1000'];
    const standing = lab.machine(0).start('tscompose', '-f', folder, ...inside);
    let said = '';
    standing.stdout.on('data', (text: Buffer) => (said += text.toString()));
    standing.stderr.on('data', (text: Buffer) => (said += text.toString()));
    const cut = once(standing, 'close');
    await seen(() => said === 'here\n', 'a command in a container of m3');
    refused(0, /--ca-cert without --ca-key/, /a new root is made/, 'ca', '--rotate', '--ca-cert', certificate);
    const own = ['ca', '--rotate', '--cert-expiry', '48h', '--ca-cert', certificate, '--ca-key', key];
    const { code, stdout, stderr } = lab.machine(0).run('tsswarm', ...own);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, readFileSync(certificate, 'utf8'));
    assert.match(stderr, /Certificates of the new root {2}0\/5 nodes\n/);
    assert.match(stderr, /Certificates of the new root {2}5\/5 nodes\n/);
    assert.match(stderr, /Node m3 {2}Renewed/);
    assert.deepEqual((await cut)[0], 1);
    assert.match(said, /^here\nerror: .*the connection is lost/);
    assert.equal(lab.machine(2).ok('tsswarm', 'ca'), stdout);
    for (const id of nodeList('{{.ID}}')) {
      const ends = Date.parse(ok('node', 'inspect', id, '-f', '{{.Certificate.ExpiresAt}}').trim());
      assert.ok(
        ends <= Date.now() + 48 * 3_600_000,
        `the lifetime that was asked for: ${new Date(ends).toISOString()}`,
      );
    }
    assert.deepEqual(containers(), before);
    refused(0, /the given root is the present one/, /./, ...own.slice(0, 2), ...own.slice(4));
    writeFileSync(key, 'nonsense');
    refused(0, /it is no private key in PEM/, /BEGIN PRIVATE KEY/, ...own);
  });

  it('changes settings of the cluster while it runs', async () => {
    const folder = lab.machine(0).project('crash', { 'compose.yaml': CRASH });
    lab.machine(0).composeOk(folder, 'up', '-d');
    const kept = (): number => ok('ps', '-a', '-q', 'crash').split('\n').filter(Boolean).length;
    await eventually(() => (kept() >= 3 ? true : undefined), 'a history');
    assert.equal(lab.machine(1).ok('tsswarm', 'update', '--task-history-limit', '1'), 'Swarm updated.\n');
    await eventually(() => (kept() === 1 ? true : undefined), 'no history');
    lab.machine(0).composeOk(folder, 'down');
    refused(
      0,
      /setting the period of heartbeats to 10ms: expected 500ms to 1h/,
      /./,
      'update',
      '--dispatcher-heartbeat',
      '10ms',
    );
    refused(0, /no setting is given/, /--help/, 'update');
    refused(0, /its cluster exists already|one runs/, /./, 'init', '--no-systemd', '--task-history-limit', '2');
  });

  it('has an external CA sign, and goes back to a root of its own', async () => {
    const [machine, url] = [lab.machine(0), `https://${lab.address(0)}:8888/api/v1/cfssl/sign`];
    const cfssl = Cfssl.create(join(machine.dir, 'cfssl'), lab.address(0));
    const serve = async (...usages: readonly string[]): Promise<void> => {
      cfssl.start((...argv) => machine.start(...argv), ok('ca'), usages.length === 0 ? undefined : usages);
      const connects = `</dev/tcp/${lab.address(0)}/8888`;
      await eventually(() => (machine.run('bash', '-c', connects).code === 0 ? true : undefined), 'cfssl');
    };
    const [external, before] = [['--external-ca', `protocol=cfssl,url=${url}`], containers()];
    const rotation = ['ca', '--rotate', '--ca-cert', cfssl.rootFile, ...external];
    try {
      refused(
        0,
        /asking the external CA "https:.*" for a certificate: connect ECONNREFUSED/,
        /check that it runs/,
        ...rotation,
      );
      await serve('signing', 'server auth');
      refused(0, /not good for both "server auth" and "client auth"/, /configuration of the CA/, ...rotation);
      await cfssl.stop();
      await serve();
      refused(0, /the external CA ".*" decides it/, /"expiry"/, ...rotation, '--cert-expiry', '48h');
      refused(0, /it shows a certificate of another root/, /of its root/, 'update', ...external);
      refused(
        0,
        /the protocol is "acme", expected cfssl/,
        /as protocol=cfssl/,
        'update',
        '--external-ca',
        'protocol=acme,url=https://a',
      );
      refused(STRANGER, /which root it signs with is not said/, /cacert=<file>/, 'init', '--no-systemd', ...external);
      assert.equal(nodeList('{{.TLSStatus}}').join(), 'Ready,Ready,Ready,Ready,Ready', 'nothing has begun');
      const rotated = machine.run('tsswarm', ...rotation);
      assert.equal(rotated.code, 0, rotated.stderr);
      assert.equal(rotated.stdout, readFileSync(cfssl.rootFile, 'utf8'));
      assert.match(rotated.stderr, /5\/5 nodes/);
      assert.equal(ok('update', ...external), 'Swarm updated.\n');
      lab.join(STRANGER, token('worker'), 2);
      await eventually(
        () => (nodeList('{{.Status}}').filter((one) => one === 'Ready').length === 6 ? true : undefined),
        'six nodes',
      );
      for (const id of nodeList('{{.ID}}')) {
        const ends = Date.parse(ok('node', 'inspect', id, '-f', '{{.Certificate.ExpiresAt}}').trim());
        assert.ok(ends <= Date.now() + 36 * 3_600_000, 'what the CA issues');
      }
      lab.machine(STRANGER).ok('tsswarm', 'leave');
      await cfssl.stop();
      refused(
        STRANGER,
        /asking the external CA ".*" for a certificate: connect ECONNREFUSED/,
        /check that it runs/,
        ...joining(token('worker'), lab.address(1)),
      );
      refused(0, /asking the external CA/, /check that it runs/, 'ca', '--rotate');
      await serve();
      const back = machine.run('tsswarm', 'ca', '--rotate');
      assert.equal(back.code, 0, back.stderr);
      assert.equal(ok('ca'), back.stdout);
      assert.notEqual(back.stdout, rotated.stdout);
      assert.equal(nodeList('{{.TLSStatus}}').join(), 'Ready,Ready,Ready,Ready,Ready');
      assert.deepEqual(containers(), before, 'containers ran on');
    } finally {
      await cfssl.stop();
    }
  });

  const shifted = (by: string) => ({ LD_PRELOAD: FAKETIME, FAKETIME: by, DONT_FAKE_MONOTONIC: '1' });
  it('refuses a node whose clock is wrong, with both times', () => {
    const told = (difference: string): RegExp =>
      new RegExp(
        `the clock of the node says [-0-9T:]+Z, that of the manager [-0-9T:]+Z: it is ${difference}, at most 1h is allowed`,
      );
    const argv = joining(token('worker'), lab.address(0));
    refusedWith(shifted('+3h'), STRANGER, told('(3h|2h59m) ahead'), /NTP/, ...argv);
    refusedWith(shifted('-100d'), STRANGER, told('(100d|99d23h) behind'), /NTP/, ...argv);
  });

  it('has a node whose clock was set wrong say so, and take part again when it is right', async () => {
    const restart = async (by: string | undefined): Promise<void> => {
      await lab.kill(4);
      const env = by === undefined ? {} : shifted(by);
      assert.equal(lab.machine(4).runWith({ env }, 'tsswarm', 'init', '--no-systemd').code, 0);
    };
    const status = (): string => lab.machine(4).ok('tsswarm', 'status');
    for (const [by, words] of [
      ['+200d', /has expired at .*, and the clock of this machine says .*: \d+d.* too late/],
      ['-30d', /is valid from .* on, and the clock of this machine says .*: \d+d.* too early/],
    ] as const) {
      await restart(by);
      await eventually(
        () => (/Managers: +none can be used: .*/.exec(status())?.[0].match(words) ? true : undefined),
        by,
      );
      await eventually(() => (nodeList('{{.Status}}', '-f', 'name=m4').includes('Down') ? true : undefined), 'm4 down');
    }
    await restart(undefined);
    await eventually(() => (nodeList('{{.Status}}', '-f', 'name=m4').includes('Ready') ? true : undefined), 'm4 back');
    assert.doesNotMatch(status(), /Managers:/);
    assert.match(status(), /Identity: +certificate until 20\d\d-[-0-9T:]+Z\n/);
  });

  it('refuses what cannot be reached, with the address and what to look at', () => {
    refused(
      STRANGER,
      /joining the cluster at "10\.77\.0\.99:2377": no manager answers there/,
      /port 2377\/tcp/,
      ...joining(token('worker'), '10.77.0.99'),
    );
    refused(
      STRANGER,
      /at "10\.77\.0\.4:2377": no manager answers there: .*ECONNREFUSED/,
      /that a manager runs there/,
      ...joining(token('worker'), lab.address(3)),
    );
    lab.drop(4, 'input', 100);
    refused(
      STRANGER,
      /at "10\.77\.0\.5:2377": no manager answers there: no answer within 10 s/,
      /firewall/,
      ...joining(token('worker'), lab.address(4)),
    );
    lab.heal(4);
    refused(
      STRANGER,
      /the leader cannot reach "10\.77\.0\.98:2377"/,
      /--advertise-addr .* port 2377\/tcp/,
      ...joining(token('manager', 1), lab.address(1), '--advertise-addr', '10.77.0.98'),
    );
    assert.deepEqual(nodeList('{{.Hostname}}').length, 5, 'nothing is left of what was refused');
  });

  it('refuses the token of another cluster, and the last manager', () => {
    lab.machine(STRANGER).ok('tsswarm', 'init', '--no-systemd', '--advertise-addr', lab.address(STRANGER));
    const foreign = token('worker', STRANGER);
    refused(STRANGER, /it is the last manager/, /promote another node/, 'node', 'demote', 'self');
    refused(STRANGER, /this is the last manager/, /--force/, 'leave');
    refused(STRANGER, /already part of one/, /node promote .* leave/, ...joining(token('worker'), lab.address(0)));
    lab.machine(STRANGER).ok('tsswarm', 'leave', '--force');
    refused(
      STRANGER,
      /it is not the one that the join token is of/,
      /check the address/,
      ...joining(foreign, lab.address(0)),
    );
    refused(STRANGER, /it is the unlock key/, /join-token/, ...joining(`SWMKEY-1-${'a'.repeat(43)}`, lab.address(0)));
  });

  it('has a worker say where its commands are to be run', () => {
    const commands = [
      ['ca'],
      ['ca', '--rotate'],
      ['update', '--task-history-limit', '3'],
      ['node', 'ps'],
      ['join-token', 'worker'],
    ];
    for (const argv of commands) refused(3, /it is a worker, not a manager/, /on a manager, .*node promote/, ...argv);
  });
});

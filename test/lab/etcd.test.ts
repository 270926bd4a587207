import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from '../builders/certificates.ts';
import type { CertificateFiles } from '../builders/certificates.ts';
import { eventually } from '../e2e/machine.ts';
import { EtcdCluster } from '../builders/etcd-cluster.ts';
import { Lab } from './lab.ts';
import { viewsOf } from './views.ts';

const WEB = `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    deploy: { replicas: 4 }
`;

describe('a cluster of three managers and a worker that keeps its state in etcd', function () {
  let lab: Lab;
  let etcd: EtcdCluster | undefined;
  let store = '';
  before(async function () {
    this.timeout(120_000);
    lab = Lab.create('tsetc', 4);
    etcd = await EtcdCluster.start(3, lab.openSwitch());
    store = `etcd://${etcd.endpoints.join(',')}/lab`;
    lab.form(3, 4, ['--store', store]);
    for (const machine of lab.machines) machine.load(['busybox']);
  });
  after(async () => {
    try {
      // Members that a failed test left dead would only make leaving long.
      for (const member of [0, 1, 2]) etcd?.revive(member);
      await etcd?.leader();
      lab.dispose();
    } finally {
      await etcd?.stop();
    }
  });

  const { nodes, leader, running } = viewsOf(() => lab);
  const containers = (index: number): string | undefined =>
    /Containers: +(\d+) running/.exec(lab.machine(index).ok('tsswarm', 'status'))?.[1];
  const changes = (via: number, label: string) =>
    lab.machine(via).run('tsswarm', 'node', 'update', '--label-add', label, 'm3');

  it('is the same seen from each manager, and says where its state is', async () => {
    for (const via of [0, 1, 2]) {
      await eventually(() => (nodes(via).every((line) => line.includes(' Ready ')) ? true : undefined), 'nodes ready');
      assert.deepEqual(nodes(via), [
        'm0 Ready Active Leader',
        'm1 Ready Active Reachable',
        'm2 Ready Active Reachable',
        'm3 Ready Active',
      ]);
      const status = lab.machine(via).ok('tsswarm', 'status');
      assert.match(status, /Store: +etcd:\/\/10\.77\.0\.200:2379,.*\/lab, revision \d+/);
      assert.match(status, /10\.77\.0\.200:2379: etcd 3\.4\.\d+/);
    }
  });

  it('runs a project that a manager took that does not lead', () => {
    const folder = lab.machine(2).project('shop', { 'compose.yaml': WEB });
    lab.machine(2).composeOk(folder, 'up', '-d', '--wait');
    assert.deepEqual(running(1), ['m0', 'm1', 'm2', 'm3']);
  });

  it('refuses a second cluster in the same place, or one without etcd, and leaves nothing of the attempt', () => {
    const { dir } = lab.machine(3);
    const other = ['--state-dir', `${dir}/other`, '--run-dir', `${dir}/other-run`];
    const init = ['init', '--no-systemd', '--listen-addr', '0.0.0.0:2399', '--store'];
    const refused = (message: RegExp, ...argv: readonly string[]): void => {
      const { code, stderr } = lab.machine(3).run('tsswarm', ...other, ...argv);
      assert.notEqual(code, 0);
      assert.match(stderr, message);
      assert.match(stderr, /\nhint: ./);
      for (const name of ['store.json', 'manager/etcd.json', 'identity/node.pem'])
        assert.ok(!existsSync(`${dir}/other/${name}`), name);
    };
    refused(/it holds the cluster "[a-z0-9]+" already/, ...init, store);
    refused(/no member of etcd can be used: 10\.77\.0\.200:9: connect ECONNREFUSED/, ...init, 'etcd://10.77.0.200:9');
    refused(/--autolock: .*external store/, ...init, `${store}-2`, '--autolock');
    assert.equal(nodes(0).length, 4);
  });

  it('goes on under another manager when the leader is killed, and takes it back', async () => {
    await lab.kill(0);
    await eventually(() => (changes(1, 'a=b').code === 0 ? true : undefined), 'a change that is accepted');
    assert.notEqual(leader(2), 0);
    await eventually(
      () => (nodes(1).some((line) => /^m0 .* Unreachable$/.test(line)) ? true : undefined),
      'the killed one shown',
    );
    // Two members of etcd are enough, and the other place is not the cluster's.
    const init = ['init', '--no-systemd', '--store'];
    const elsewhere = lab.machine(0).run('tsswarm', ...init, `${store}-2`);
    assert.notEqual(elsewhere.code, 0);
    assert.match(elsewhere.stderr, /no cluster is there, and this node belongs to/);
    const fewer = `etcd://${etcd?.endpoints.slice(1).join(',')}/lab`;
    assert.match(lab.machine(0).ok('tsswarm', ...init, fewer), /Node started again/);
    assert.match(lab.machine(0).ok('tsswarm', 'status'), /Store: +etcd:\/\/10\.77\.0\.200:2389,[^,]+, revision/);
    await eventually(() => (nodes(0).includes('m0 Ready Active Reachable') ? true : undefined), 'the old leader back');
    assert.match(lab.machine(0).ok('tsswarm', 'node', 'inspect', 'm3'), /"a": "b"/);
  });

  it('goes to another root while everything runs', () => {
    const before = running(1);
    const { code, stderr } = lab.machine(1).run('tsswarm', 'ca', '--rotate');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /4\/4 nodes/);
    assert.deepEqual(running(1), before);
  });

  it('goes on without one member of etcd', async () => {
    await etcd?.kill(1);
    for (const via of [0, 1, 2]) assert.equal(changes(via, `one=${via}`).code, 0);
    assert.match(lab.machine(0).ok('tsswarm', 'status'), /10\.77\.0\.200:2389: connect ECONNREFUSED/);
    await etcd?.restart(1);
  });

  it('refuses changes with the reason while etcd is away, lets containers run, and goes on when it is back', async () => {
    const before = [0, 1, 2, 3].map(containers);
    for (const member of [0, 1, 2]) await etcd?.kill(member);
    try {
      const { code, stderr } = changes(1, 'c=d');
      assert.notEqual(code, 0);
      // Also where it was on its way just then, and may have arrived.
      assert.match(stderr, /etcd: .*(ECONNREFUSED|no answer|connection)/i);
      assert.match(stderr, /\nhint: containers run on/);
      assert.match(lab.machine(1).ok('tsswarm', 'status'), /not usable now: no member of etcd/);
      assert.deepEqual([0, 1, 2, 3].map(containers), before);
      // A manager that is started meanwhile waits for its store, and its containers do not.
      await lab.kill(2);
      lab.start(2);
      assert.equal(containers(2), before[2]);
    } finally {
      for (const member of [0, 1, 2]) etcd?.revive(member);
    }
    await eventually(() => (changes(2, 'e=f').code === 0 ? true : undefined), 'a change that is accepted', 30_000);
    await eventually(
      () => (nodes(2).filter((line) => / Ready Active (Leader|Reachable)$/.test(line)).length === 3 ? true : undefined),
      'three managers',
    );
    assert.deepEqual(running(0), ['m0', 'm1', 'm2', 'm3']);
  });

  it('refuses what makes sense only where managers keep the state themselves', () => {
    for (const argv of [
      ['update', '--autolock=true'],
      ['init', '--force-new-cluster'],
    ]) {
      const { code, stderr } = lab.machine(0).run('tsswarm', ...argv);
      assert.notEqual(code, 0);
      assert.match(stderr, /external store|do not keep the state themselves/);
      assert.match(stderr, /\nhint: ./);
    }
  });

  it('promotes, demotes, and lets all but one manager go', async () => {
    lab.machine(0).ok('tsswarm', 'node', 'promote', 'm3');
    await eventually(() => (nodes(0).includes('m3 Ready Active Reachable') ? true : undefined), 'a fourth manager');
    await eventually(() => (lab.machine(3).run('tsswarm', 'node', 'ls').code === 0 ? true : undefined), 'it answers');
    const led = leader(0) ?? -1;
    lab.machine(3).ok('tsswarm', 'node', 'demote', `m${led}`);
    await eventually(() => (nodes(3).includes(`m${led} Ready Active`) ? true : undefined), 'a worker');
    assert.notEqual(leader(3), led);
    const way = join(lab.machine(led).stateDir, 'manager', 'etcd.json');
    await eventually(() => (existsSync(way) ? undefined : true), 'a worker that does not know the way to etcd');
    for (const index of [0, 1, 2].filter((other) => other !== led)) lab.machine(index).ok('tsswarm', 'leave');
    await eventually(() => (nodes(3).length === 2 ? true : undefined), 'two nodes less');
    const { code, stderr } = lab.machine(3).run('tsswarm', 'leave');
    assert.notEqual(code, 0);
    assert.match(stderr, /last manager/);
    await eventually(() => (running(3).length === 4 ? true : undefined), 'all tasks on who is left');
  });

  it('leaves nothing in etcd when the last manager gives the cluster up', () => {
    lab.machine(3).ok('tsswarm', 'leave', '--force');
    const { stdout } = lab.machine(3).run('tsswarm', 'init', '--no-systemd', '--node-name', 'm3', '--store', store);
    assert.match(stdout, /Swarm initialized/);
  });
});

describe('a cluster that keeps its state in an etcd with TLS and passwords', function () {
  let lab: Lab;
  let etcd: EtcdCluster | undefined;
  let files: CertificateFiles | undefined;
  before(async function () {
    this.timeout(60_000);
    lab = Lab.create('tstls', 2);
    const wire = lab.openSwitch();
    files = makeCertificates(wire.host);
    etcd = await EtcdCluster.start(1, { ...wire, tls: files });
    await etcd.call('auth/user/add', { name: 'root', password: 'r' });
    await etcd.call('auth/role/add', { name: 'root' });
    await etcd.call('auth/user/grant', { user: 'root', role: 'root' });
    await etcd.call('auth/role/add', { name: 'swarm' });
    // From the first to behind the last key that begins with "/own/".
    const [key, end] = ['/own/', '/own0'].map((text) => Buffer.from(text).toString('base64'));
    await etcd.call('auth/role/grant', { name: 'swarm', perm: { permType: 'READWRITE', key, range_end: end } });
    await etcd.call('auth/user/add', { name: 'swarm', password: 'correct horse' });
    await etcd.call('auth/user/grant', { user: 'swarm', role: 'swarm' });
    await etcd.call('auth/enable', {});
  });
  after(async () => {
    try {
      lab.dispose();
    } finally {
      await etcd?.stop();
      files?.remove();
    }
  });

  it('needs the way to etcd once: the other manager and later starts have it from the cluster', async () => {
    const password = join(lab.machine(0).dir, 'password');
    writeFileSync(password, 'wrong\n');
    const way = ['--store', `etcds://swarm@${etcd?.endpoints[0] ?? ''}/own`, '--store-password-file', password];
    const tls = [
      '--store-cacert',
      files?.ca ?? '',
      '--store-cert',
      files?.certificate ?? '',
      '--store-key',
      files?.key ?? '',
    ];
    const wrong = lab.machine(0).run('tsswarm', 'init', '--no-systemd', ...way, ...tls);
    assert.match(wrong.stderr, /invalid user ID or password\nhint: the user or password of the store is wrong/);
    writeFileSync(password, 'correct horse\n');
    lab.form(1, 1, [...way, ...tls]);
    rmSync(password);
    lab.join(1, lab.machine(0).ok('tsswarm', 'join-token', '-q', 'manager').trim());
    for (const { stateDir, dir } of lab.machines) {
      const mode = statSync(join(stateDir, 'manager', 'etcd.json')).mode & 0o777;
      assert.equal(mode, 0o600);
      assert.ok(!existsSync(join(stateDir, 'store.json')), dir);
      assert.ok(!readFileSync(join(stateDir, 'tsswarmd.log'), 'utf8').includes('correct horse'));
    }
    for (const index of [0, 1]) {
      await lab.kill(index);
      lab.start(index);
      await eventually(
        () =>
          lab.machine(index).run('tsswarm', 'node', 'update', '--label-add', `i=${index}`, 'm0').code === 0
            ? true
            : undefined,
        'a change that is accepted',
      );
      const status = lab.machine(index).ok('tsswarm', 'status');
      assert.match(status, /Store: +etcds:\/\/swarm@10\.77\.0\.200:2379\/own, revision/);
      assert.doesNotMatch(status, /correct/);
    }
    lab.machine(1).ok('tsswarm', 'leave');
    assert.ok(!existsSync(join(lab.machine(1).stateDir, 'manager', 'etcd.json')), 'nothing of it stays where it left');
  });
});

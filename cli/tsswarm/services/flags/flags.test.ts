import assert from 'node:assert/strict';
import { Command } from 'commander';
import { isTsswarmError } from '../../../../base/errors.ts';
import type { ErrorCode } from '../../../../base/errors.ts';
import type { ServiceSpec } from '../../../../proto/types/index.ts';
import { booleansWithValues } from '../../../terminal/program.ts';
import { addCreateOptions, addUpdateOptions, createdLists, updatedLists } from './options.ts';
import { createdSpec, updatedSpec } from './spec.ts';

/** The spec that `service create <words>` asks for: options, image, command. */
function create(...words: readonly string[]): ServiceSpec {
  let spec: ServiceSpec | undefined;
  const command = addCreateOptions(new Command('create'))
    .exitOverride()
    .argument('<image>')
    .argument('[command...]')
    .passThroughOptions()
    .action((image: string, argv: readonly string[], options) => {
      spec = createdSpec('web', image, argv, options, createdLists({ ...options }));
    });
  booleansWithValues(command);
  command.parse(words, { from: 'user' });
  assert.ok(spec);
  return spec;
}

/** The spec that `service update <words> web` makes of another. */
function update(before: ServiceSpec, ...words: readonly string[]): ServiceSpec {
  let spec: ServiceSpec | undefined;
  const command = addUpdateOptions(new Command('update'))
    .exitOverride()
    .argument('<service>')
    .action((_name: string, options) => {
      spec = updatedSpec(before, options, updatedLists({ ...options }));
    });
  booleansWithValues(command);
  command.parse([...words, 'web'], { from: 'user' });
  assert.ok(spec);
  return spec;
}

const refuses = (work: () => unknown, code: ErrorCode, reason: RegExp): void =>
  assert.throws(work, (error) => {
    assert.ok(isTsswarmError(error, code), String(error));
    assert.match(error.message, reason);
    return true;
  });
const box = (spec: ServiceSpec) => spec.task.container;

describe('the flags of service create', () => {
  it('without any: Docker Swarm’s defaults, on the default network', () => {
    const spec = create('nginx');
    assert.equal(spec.replicas, 1);
    assert.equal(spec.mode, undefined);
    assert.deepEqual(spec.task.restart, {
      condition: 'any',
      delayMs: 5000,
      maxDelayMs: 60_000,
      maxAttempts: 0,
      windowMs: 0,
    });
    assert.deepEqual(spec.update, { parallelism: 1, delayMs: 0, order: 'stop-first' });
    assert.deepEqual(spec.task.networks, [{ network: 'bridge', aliases: [], ipv4Address: '' }]);
    assert.equal(box(spec).command, undefined);
  });

  it('what stands behind the image is the command, flags and all', () => {
    assert.deepEqual(box(create('busybox', 'sh', '-c', 'x', '--name', '--init=false')).command?.args, [
      'sh',
      '-c',
      'x',
      '--name',
      '--init=false',
    ]);
  });

  const cases: readonly (readonly [
    title: string,
    words: readonly string[],
    pick: (spec: ServiceSpec) => unknown,
    expected: unknown,
  ])[] = [
    ['-e', ['-e', 'A=1', '--env', 'B=x=y', '-e', 'A=2'], (spec) => box(spec).env, ['A=2', 'B=x=y']],
    ['-l', ['-l', 'a=b', '--label', 'c'], ({ labels }) => labels, { a: 'b', c: '' }],
    ['--container-label', ['--container-label', 'a=b'], (spec) => box(spec).labels, { a: 'b' }],
    ['--replicas', ['--replicas', '5'], ({ replicas }) => replicas, 5],
    ['--mode global', ['--mode', 'global'], ({ mode }) => mode, 'global'],
    ['a job', ['--mode', 'replicated-job', '--replicas', '3'], ({ task }) => task.restart.condition, 'on-failure'],
    ['-p short', ['-p', '8080:80/udp'], ({ ports }) => ports, [port(80, 8080, { protocol: 'udp' })]],
    ['-p range', ['-p', '8000-8010:80'], ({ ports }) => ports, [port(80, 8000, { publishedEnd: 8010 })]],
    ['-p open', ['-p', '80'], ({ ports }) => ports, [port(80, 0)]],
    ['-p with an address', ['-p', '10.0.0.1:81:80'], ({ ports }) => ports, [port(80, 81, { hostIp: '10.0.0.1' })]],
    ['-p range', ['-p', '90-91:80-81'], ({ ports }) => ports, [port(80, 90), port(81, 91)]],
    [
      '-p long',
      ['-p', 'published=8080,target=80,mode=host,protocol=tcp'],
      ({ ports }) => ports,
      [port(80, 8080, { mode: 'host' })],
    ],
    ['--constraint', ['--constraint', 'node.role==worker'], ({ task }) => task.constraints, ['node.role==worker']],
    [
      '--placement-pref',
      ['--placement-pref', 'spread=node.labels.zone', '--replicas-max-per-node', '2'],
      ({ task }) => task.placement,
      { spread: ['node.labels.zone'], maxReplicasPerNode: 2 },
    ],
    [
      'limits',
      ['--limit-cpu', '0.5', '--limit-memory', '64m', '--limit-pids', '20', '--memory-swap', '-1'],
      ({ task }) => task.limits,
      { nanoCpus: 5e8, memoryBytes: 64 * 2 ** 20, pids: 20, memorySwapBytes: -1 },
    ],
    [
      'reservations',
      ['--reserve-cpu', '1', '--reserve-memory', '1g'],
      ({ task }) => task.reservations,
      { nanoCpus: 1e9, memoryBytes: 2 ** 30 },
    ],
    [
      '--restart-*',
      [
        '--restart-condition',
        'on-failure',
        '--restart-delay',
        '1s',
        '--restart-max-attempts',
        '3',
        '--restart-window',
        '1m',
      ],
      ({ task }) => task.restart,
      { condition: 'on-failure', delayMs: 1000, maxDelayMs: 60_000, maxAttempts: 3, windowMs: 60_000 },
    ],
    [
      '--update-*',
      ['--update-parallelism', '2', '--update-delay', '10s', '--update-order', 'start-first', '--update-monitor', '1s'],
      (spec) => spec.update,
      { parallelism: 2, delayMs: 10_000, order: 'start-first', monitorMs: 1000 },
    ],
    [
      '--rollback-*',
      ['--rollback-failure-action', 'continue', '--rollback-max-failure-ratio', '0.2'],
      ({ rollback }) => rollback,
      { parallelism: 1, delayMs: 0, order: 'stop-first', failureAction: 'continue', maxFailureRatio: 0.2 },
    ],
    [
      '--health-*',
      ['--health-cmd', 'curl -f x', '--health-interval', '2s', '--health-retries', '5'],
      (spec) => box(spec).healthCheck,
      { test: ['CMD-SHELL', 'curl -f x'], intervalMs: 2000, retries: 5 },
    ],
    ['--no-healthcheck', ['--no-healthcheck'], (spec) => box(spec).healthCheck, { test: ['NONE'] }],
    [
      '--mount volume',
      ['--mount', 'src=data,dst=/data,readonly,"volume-opt=o=a,b",volume-label=x=y'],
      (spec) => box(spec).mounts,
      [
        {
          type: 'volume',
          source: 'data',
          target: '/data',
          readOnly: true,
          noCopy: false,
          subpath: '',
          driver: 'local',
          driverOptions: { o: 'a,b' },
          labels: { x: 'y' },
        },
      ],
    ],
    [
      '--mount bind',
      ['--mount', 'type=bind,source=/a,target=/b/,ro=false,bind-propagation=rshared'],
      (spec) => box(spec).mounts,
      [{ type: 'bind', source: '/a', target: '/b', readOnly: false, propagation: 'rshared', createHostPath: false }],
    ],
    [
      '--mount tmpfs',
      ['--mount', 'type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700'],
      (spec) => box(spec).mounts,
      [{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 2 ** 20, mode: 0o700 }],
    ],
    [
      '--secret',
      ['--secret', 'key', '--secret', 'source=a,target=/b,mode=0400,uid=5,signal=SIGHUP'],
      (spec) => box(spec).secrets,
      [
        { name: 'key', target: '/run/secrets/key', uid: 0, gid: 0, mode: 0o444 },
        { name: 'a', target: '/b', uid: 5, gid: 0, mode: 0o400, signal: 'SIGHUP' },
      ],
    ],
    [
      '--config',
      ['--config', 'conf'],
      (spec) => box(spec).configs,
      [{ name: 'conf', target: '/conf', uid: 0, gid: 0, mode: 0o444 }],
    ],
    [
      '--network',
      ['--network', 'shop_default', '--network', 'name=b,alias=x,alias=y,ip=10.0.0.9'],
      ({ task }) => task.networks,
      [
        { network: 'shop_default', aliases: [], ipv4Address: '' },
        { network: 'b', aliases: ['x', 'y'], ipv4Address: '10.0.0.9' },
      ],
    ],
    [
      '--network with a name for the interface',
      ['--network', 'name=b,driver-opt=com.docker.network.endpoint.ifname=lan0'],
      ({ task }) => task.networks,
      [{ network: 'b', aliases: [], ipv4Address: '', interfaceName: 'lan0' }],
    ],
    ['--network host', ['--network', 'host'], ({ task }) => [task.networkMode, task.networks], ['host', []]],
    ['--host', ['--host', 'db:10.0.0.1'], (spec) => box(spec).extraHosts, ['db=10.0.0.1']],
    [
      '--ulimit',
      ['--ulimit', 'nofile=10:20', '--ulimit', 'nproc=5'],
      (spec) => box(spec).ulimits,
      [
        { name: 'nofile', soft: 10, hard: 20 },
        { name: 'nproc', soft: 5, hard: 5 },
      ],
    ],
    ['--sysctl', ['--sysctl', 'net.core.somaxconn=1'], (spec) => box(spec).sysctls, { 'net.core.somaxconn': '1' }],
    [
      'words',
      ['--hostname', 'h', '-u', 'u', '-w', '/w', '--stop-signal', 'INT', '--stop-grace-period', '2s'],
      (spec) => [box(spec).hostname, box(spec).user, box(spec).workingDir, box(spec).stopSignal, box(spec).stopGraceMs],
      ['h', 'u', '/w', 'INT', 2000],
    ],
    [
      'switches',
      ['--init', '--read-only=true', '-t', '--detach=false'],
      (spec) => [box(spec).init, box(spec).readOnly, box(spec).tty],
      [true, true, true],
    ],
    ['--entrypoint', ['--entrypoint', 'sh -c "a b"'], (spec) => box(spec).entrypoint?.args, ['sh', '-c', 'a b']],
    [
      '--cap-*',
      ['--cap-add', 'NET_ADMIN', '--cap-drop', 'ALL'],
      (spec) => [box(spec).capAdd, box(spec).capDrop],
      [['NET_ADMIN'], ['ALL']],
    ],
    [
      '--log-*',
      ['--log-driver', 'local', '--log-opt', 'max-size=1m'],
      ({ task }) => task.log,
      { driver: 'local', options: { 'max-size': '1m' } },
    ],
    [
      'lists',
      ['--dns', '1.1.1.1', '--dns-search', 'a', '--dns-option', 'ndots:2', '--group', 'g', '--oom-score-adj', '-5'],
      (spec) => [box(spec).dns, box(spec).dnsSearch, box(spec).dnsOptions, box(spec).groups, box(spec).oomScoreAdj],
      [['1.1.1.1'], ['a'], ['ndots:2'], ['g'], -5],
    ],
  ];
  for (const [title, words, pick, expected] of cases) {
    it(title, () => assert.deepEqual(pick(create(...words, 'nginx')), expected));
  }

  const bad: readonly (readonly [words: readonly string[], reason: RegExp, code?: ErrorCode])[] = [
    [['--replicas', 'x'], /using --replicas "x": expected a whole number from 0 on/],
    [['--mode', 'glob'], /using --mode "glob": expected replicated, global, replicated-job or global-job/],
    [['--mode', 'global', '--replicas', '2'], /using --replicas: it is for replicated services: this one is global/],
    [['--mode', 'replicated-job', '--update-delay', '1s'], /jobs are not updated/],
    [['-p', 'target=2,x-source=yes'], /keep/],
    [['-p', '1:2:3'], /using --publish "1:2:3": expected \[ip:\]\[published:\]target/],
    [['-p', '80-82:80-81'], /the two ranges differ in length/],
    [['-p', '70000'], /"70000" is no port/],
    [['-p', 'published=1,target=2,nope=3'], /the key "nope" is not known/],
    [['--mount', 'type=volume,source=a'], /it has no target/],
    [['--mount', 'type=bind,source=a,target=/a'], /the source of a bind mount is "a", expected an absolute path/],
    [['--mount', 'type=tmpfs,target=/a,volume-nocopy'], /options of volumes do not fit the type "tmpfs"/],
    [['--mount', 'type=volume,target=/a,consistency=cached'], /"consistency" is not supported/, 'NOT_SUPPORTED'],
    [['--mount', 'type=volume,target=/a,volume-driver=nfs'], /the volume driver "nfs"/, 'NOT_SUPPORTED'],
    [['--limit-memory', 'lots'], /using --limit-memory "lots": expected a size/],
    [['--limit-cpu', '-1'], /expected a number of CPUs/],
    [['--restart-condition', 'always'], /expected none, on-failure or any/],
    [['--update-max-failure-ratio', '2'], /expected a number from 0 to 1/],
    [['--rollback-failure-action', 'rollback'], /expected pause or continue/],
    [['--health-cmd', 'x', '--no-healthcheck'], /exclude each other/],
    [['--placement-pref', 'binpack=x'], /expected spread=/],
    [['--network', 'host', '--network', 'a'], /cannot be had together/],
    [['--network', 'name=a,driver-opt=mtu=9000'], /the driver option "mtu=9000" is not there/, 'NOT_SUPPORTED'],
    [['--log-driver', 'syslog'], /using --log-driver "syslog": it is not there/, 'NOT_SUPPORTED'],
    [['--log-opt', 'tag=x'], /the log driver "json-file" has no such option/, 'NOT_SUPPORTED'],
    [['--with-registry-auth'], /logins at registries are not supported/, 'NOT_SUPPORTED'],
    [['--endpoint-mode', 'round'], /--endpoint-mode "round": expected vip or dnsrr/, 'INVALID_INPUT'],
    [['--max-concurrent', '1', '--mode', 'replicated-job', '--replicas', '2'], /at once/, 'NOT_SUPPORTED'],
    [['--isolation', 'hyperv'], /Windows/, 'NOT_SUPPORTED'],
    [['--memory-swappiness', '5'], /--memory-swap/, 'NOT_SUPPORTED'],
    [['--ulimit', 'nofile=9:2'], /the soft limit is above the hard one/],
  ];
  for (const [words, reason, code = 'INVALID_INPUT'] of bad) {
    it(`refuses ${words.join(' ')}`, () => refuses(() => create(...words, 'nginx'), code, reason));
  }
});

describe('the flags of service update', () => {
  const before = create(
    ...['-e', 'A=1', '-e', 'B=2', '-l', 'a=b', '--mount', 'source=v,target=/v', '-p', '80:80', '-p', '53:53/udp'],
    ...['--constraint', 'node.role==worker', '--secret', 'key', '--host', 'db:10.0.0.1', '--cap-drop', 'CAP_CHOWN'],
    ...[
      '--placement-pref',
      'spread=node.labels.zone',
      '--network',
      'one',
      '--health-cmd',
      'x',
      '--init',
      'nginx',
      'cmd',
    ],
  );

  it('change what they name and nothing else', () => {
    assert.deepEqual(update(before), before);
    assert.deepEqual(update(before, '--image', 'nginx:2'), {
      ...before,
      task: { ...before.task, container: { ...box(before), image: 'nginx:2' } },
    });
  });

  const cases: readonly (readonly [
    words: readonly string[],
    pick: (spec: ServiceSpec) => unknown,
    expected: unknown,
  ])[] = [
    [['--env-add', 'B=3', '--env-add', 'C=4', '--env-rm', 'A'], (spec) => box(spec).env, ['B=3', 'C=4']],
    [['--label-add', 'c=d', '--label-rm', 'a'], ({ labels }) => labels, { c: 'd' }],
    [['--mount-rm', '/v'], (spec) => box(spec).mounts, []],
    [['--mount-add', 'type=tmpfs,target=/v'], (spec) => box(spec).mounts.map(({ type }) => type), ['tmpfs']],
    [
      ['--publish-rm', '80', '--publish-rm', '53/udp', '--publish-add', 'published=81,target=81,x-source=keep'],
      ({ ports }) => ports,
      [port(81, 81, { source: 'keep' })],
    ],
    [['--publish-rm', '80'], ({ ports }) => ports, [port(53, 53, { protocol: 'udp' })]],
    [['--publish-rm', '53/udp', '--publish-add', '81:81'], ({ ports }) => ports, [port(80, 80), port(81, 81)]],
    [['--constraint-rm', 'node.role==worker', '--constraint-add', 'x==y'], ({ task }) => task.constraints, ['x==y']],
    [['--secret-rm', 'key'], (spec) => box(spec).secrets, []],
    [['--host-rm', 'db', '--host-add', 'x:10.0.0.2'], (spec) => box(spec).extraHosts, ['x=10.0.0.2']],
    [['--host-rm', 'db:10.0.0.1'], (spec) => box(spec).extraHosts, []],
    [['--cap-add', 'CHOWN'], (spec) => [box(spec).capAdd, box(spec).capDrop], [['CHOWN'], []]],
    [['--placement-pref-rm', 'spread=node.labels.zone'], ({ task }) => task.placement, undefined],
    [
      ['--network-add', 'two', '--network-rm', 'one'],
      ({ task }) => task.networks,
      [{ network: 'two', aliases: [], ipv4Address: '' }],
    ],
    [['--args', 'a "b c"'], (spec) => box(spec).command?.args, ['a', 'b c']],
    [['--args', ''], (spec) => box(spec).command, undefined],
    [['--force'], ({ task }) => task.forceUpdate, 1],
    [['--init=false'], (spec) => box(spec).init, false],
    [['--health-retries', '9'], (spec) => box(spec).healthCheck, { test: ['CMD-SHELL', 'x'], retries: 9 }],
    [['--replicas', '0'], ({ replicas }) => replicas, 0],
    [['--update-parallelism', '0'], (spec) => spec.update.parallelism, 0],
  ];
  for (const [words, pick, expected] of cases) {
    it(words.join(' '), () => assert.deepEqual(pick(update(before, ...words)), expected));
  }

  it('refuse an empty image and generic resources', () => {
    refuses(() => update(before, '--image', ''), 'INVALID_INPUT', /expected the name of an image/);
    refuses(() => update(before, '--publish-rm', '80-81'), 'INVALID_INPUT', /expected a target port/);
  });
});

function port(target: number, published: number, over: object = {}) {
  return { target, published, protocol: 'tcp', mode: 'ingress', hostIp: '', ...over };
}

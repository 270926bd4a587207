import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

/** `npm run test:live:load` makes 200 updates, and replaces containers under load, too. */
const UPDATES = Number(process.env['TSSWARM_LIVE_UPDATES'] ?? 15);
const IS_LONG = process.env['TSSWARM_LIVE_UPDATES'] !== undefined;
const REPLACEMENTS = 10;

/** One thing that is changed: a key of the service and its value in the nth change; '' for none. Items of a list are put together. */
interface Kind {
  readonly key: string;
  readonly value: (n: number) => string;
  readonly isItem?: true;
}

const either =
  (one: string, other: string) =>
  (n: number): string =>
    n % 2 === 0 ? one : other;
const set = (key: string, one: string, other: string): Kind => ({ key, value: either(one, other) });
const item = (key: string, one: string, other: string): Kind => ({ key, value: either(one, other), isItem: true });

const KINDS: readonly Kind[] = [
  set('cpus', '2', '1.5'),
  set('mem_limit', '256m', '200m'),
  set('memswap_limit', '512m', '400m'),
  set('pids_limit', '200', '100'),
  set('cpu_shares', '1024', '512'),
  set('cpuset', '', '"0"'),
  set('ulimits', '{nofile: {soft: 900, hard: 1000}}', '{nofile: {soft: 800, hard: 1000}}'),
  set('oom_score_adj', '0', '100'),
  item('ports', '"8081:80"', ''),
  item('ports', '', '"8082:80"'),
  item('secrets', '{source: other}', ''),
  item('configs', '{source: conf, target: /etc/one}', '{source: conf, target: /etc/two}'),
  item('volumes', './a:/mnt/bind', './b:/mnt/bind'),
  item('volumes', './a:/mnt/attributes', './a:/mnt/attributes:ro'),
  item('volumes', '', 'data:/mnt/volume'),
  item('tmpfs', '/mnt/tmpfs:size=1m', '/mnt/tmpfs:size=2m'),
  set('shm_size', '16m', '8m'),
  set('hostname', 'one', 'two'),
  set('domainname', 'one.example', 'two.example'),
  set('dns_search', 'one.example', 'two.example'),
  set('dns_opt', '["timeout:1"]', '["timeout:2"]'),
  set('dns', '192.0.2.1', '192.0.2.2'),
  set('extra_hosts', '["there:10.1.2.3"]', '["there:10.1.2.4"]'),
  set('sysctls', '{net.core.somaxconn: "600"}', '{net.core.somaxconn: "700"}'),
  set('labels', '{mine: "1"}', '{mine: "2"}'),
  set('healthcheck', '{test: "true", interval: 1s}', '{test: "exit 0", interval: 2s}'),
  set('stop_grace_period', '20s', '30s'),
  set('stop_signal', 'SIGQUIT', 'SIGTERM'),
  set('restart', 'always', 'unless-stopped'),
  set('logging', '{options: {max-size: 1m}}', '{options: {max-size: 2m, max-file: "2"}}'),
  set('pre_stop', '[{command: "true"}]', ''),
  // Its bytes are another number each time.
  item('secrets', '{source: key, x-signal: SIGUSR1}', '{source: key, x-signal: SIGUSR1}'),
];

/** Compose file with every kind in the change that it has come to. */
function yaml(changes: readonly number[]): string {
  const keys = new Map<string, string[]>([['ports', ['"8080:80"']]]);
  const scalars: string[] = [];
  KINDS.forEach(({ key, value, isItem }, index) => {
    const text = value(changes[index] ?? 0);
    if (text === '') return;
    if (isItem) keys.set(key, [...(keys.get(key) ?? []), text]);
    else scalars.push(`${key}: ${text}`);
  });
  const lists = [...keys].map(([key, items]) => `${key}: [${items.join(', ')}]`);
  return `services:
  web:
    image: nginx
    deploy: {update_config: {monitor: 100ms}}
    ${[...scalars, ...lists].join('\n    ')}
  client:
    image: busybox
    command: sleep 100000
    init: true
    stop_grace_period: 0s
secrets: {key: {file: ./key}, other: {file: ./other}}
configs: {conf: {content: "the conf"}}
volumes: {data: {}}
`;
}

/** wrk under way. */
interface Load {
  /** Ends it. @returns its report */
  end(): Promise<string>;
}

describe(`nginx under constant load, ${UPDATES} live updates`, function () {
  this.timeout(60_000 + UPDATES * 20_000);
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['nginx', 'busybox']);
  });
  const loads: Load[] = [];
  afterEach(async () => {
    for (const one of loads.splice(0)) await one.end();
  });
  after(() => machine.dispose());

  /** Calls the service all the time, each connection so often as `pauseMs` allows. */
  const load = (
    argv: readonly string[],
    url: string,
    connections: number,
    pauseMs: number,
    ...flags: string[]
  ): Load => {
    machine.project('.', { [`pause-${pauseMs}.lua`]: `function delay() return ${pauseMs} end` });
    const script = ['-s', join(machine.dir, `pause-${pauseMs}.lua`)];
    const options = ['-t', '1', '-c', String(connections), '-d', '10h', '--timeout', '30s', ...script, ...flags];
    const wrk = machine.start(...argv, 'wrk', ...options, url);
    let said = '';
    for (const stream of [wrk.stdout, wrk.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
    const ended = new Promise<string>((resolve) => wrk.once('close', () => resolve(said)));
    return {
      end() {
        wrk.kill('SIGINT');
        return ended;
      },
    };
  };
  const succeeded = (report: string): void => {
    assert.ok(Number(/(\d+) requests in/.exec(report)?.[1]) > UPDATES, report);
    assert.doesNotMatch(report, /Non-2xx|Socket errors|unable/, report);
  };
  const containerOf = (folder: string, service: string): string =>
    machine.composeOk(folder, 'ps', '-q', service).trim();
  const pid = (id: string): number =>
    (
      JSON.parse(readFileSync(join(machine.dir, 'run', 'engine', 'containers', id, 'state.json'), 'utf8')) as {
        pid: number;
      }
    ).pid;
  /** Master and workers. */
  const processes = (id: string): string =>
    readFileSync(join('/sys/fs/cgroup/pids', machine.cgroupParent, id, 'cgroup.procs'), 'utf8');

  it('keep every process, and fail no request', async () => {
    const changes = KINDS.map(() => 0);
    const write = (n: number): string =>
      machine.project('web', {
        'compose.yaml': yaml(changes),
        key: `key ${n}`,
        other: 'other',
        'a/file': 'a',
        'b/file': 'b',
      });
    const folder = write(0);
    machine.composeOk(folder, 'up', '-d', '--wait');
    await eventually(() => machine.fetch('http://127.0.0.1:8080/'), 'the service');
    const id = containerOf(folder, 'web');
    const before = processes(id);
    const main = pid(id);
    const client = [`--net=/proc/${pid(containerOf(folder, 'client'))}/ns/net`];
    const names = machine.composeOk(folder, 'exec', '-T', 'client', 'nslookup', 'web');
    const virtual = /Name:\s+web\S*\s+Address(?: 1)?:\s+([0-9.]+)/.exec(names)?.[1];
    assert.ok(virtual !== undefined, names);
    loads.push(
      load([], 'http://127.0.0.1:8080/', 8, 5),
      load([], 'http://127.0.0.1:8080/', 4, 20, '-H', 'Connection: close'),
      load(['nsenter', ...client], `http://${virtual}/`, 4, 20, '-H', 'Connection: close'),
    );
    const perUpdate = Math.ceil(KINDS.length / UPDATES);
    let next = 0;
    for (let update = 1; update <= UPDATES; update++) {
      const kinds = Array.from({ length: perUpdate }, () => next++ % KINDS.length);
      for (const kind of kinds) changes[kind] = (changes[kind] ?? 0) + 1;
      write(update);
      machine.composeOk(folder, 'up', '-d');
      const what = `update ${update}, ${kinds.map((kind) => KINDS[kind]?.key).join(', ')}`;
      const shown = machine.composeOk(folder, 'ps', '--format', 'json', 'web');
      const { ID, Spec } = JSON.parse(shown) as { ID: string; Spec: { Wanted: number; Applied: number } };
      assert.equal(ID, id, `${what}\n${machine.ok('tsswarm', 'service', 'ps', '--no-trunc', 'web_web')}`);
      assert.equal(Spec.Applied, Spec.Wanted, what);
      // A health check comes and goes; whoever served stays.
      const present = new Set(processes(id).split('\n'));
      const gone = before.split('\n').filter((one) => !present.has(one));
      assert.deepEqual(gone, [], `${what}: processes are gone`);
      assert.equal(readFileSync(`/proc/${main}/root/run/secrets/key`, 'utf8'), `key ${update}`, what);
    }
    for (const one of loads.splice(0)) succeeded(await one.end());
    machine.composeOk(folder, 'down', '-v');
  });

  // The small form of it is draining.test.ts.
  if (IS_LONG)
    it(`and ${REPLACEMENTS} rolling replacements of two containers, the new ones first, fail no request`, async () => {
      const write = (version: number): string =>
        machine.project('roll', {
          'compose.yaml': `services:
  web:
    image: nginx
    environment: { VERSION: "${version}" }
    ports: ["8080:80"]
    stop_signal: SIGQUIT
    deploy: {replicas: 2, update_config: {parallelism: 1, order: start-first, monitor: 100ms}}
`,
        });
      const folder = write(0);
      machine.composeOk(folder, 'up', '-d', '--wait');
      await eventually(() => machine.fetch('http://127.0.0.1:8080/'), 'the service');
      loads.push(load([], 'http://127.0.0.1:8080/', 8, 5, '-H', 'Connection: close'));
      for (let version = 1; version <= REPLACEMENTS; version++) {
        const before = containerOf(folder, 'web').split('\n');
        write(version);
        machine.composeOk(folder, 'up', '-d');
        const after = containerOf(folder, 'web').split('\n');
        assert.equal(after.length, 2);
        assert.ok(after.every((one) => !before.includes(one)));
      }
      for (const one of loads.splice(0)) succeeded(await one.end());
      machine.composeOk(folder, 'down');
    });
});

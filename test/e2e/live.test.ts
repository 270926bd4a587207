import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerSpec, ResourceLimits, TaskSpec } from '../../proto/types/index.ts';
import { Machine, eventually } from './machine.ts';

/** A change of one field: lines of the service in the compose file, before and after. */
interface Change {
  readonly before?: string;
  readonly after: string;
  /** Other services. */
  readonly beside?: string;
  /** Instead of `up`; with --dry-run it says what it would do. */
  readonly by?: readonly string[];
}
/** A command in the container, and what it prints when the container has the new value. */
type Seen = { readonly see: readonly [command: string, expected: RegExp] };
/** The same on the node: "cpu/<group>/cpu.cfs_quota_us". */
type OnNode = { readonly file: readonly [path: string, expected: string] };
/** What shows only in what becomes of the container, which is removed then. */
type Proven = { readonly prove: (service: Service) => Promise<void> | void };
/** Managers alone go by it: what they say of the service. */
type Shown = { readonly shown: RegExp };
type Row = Change & (Seen | OnNode | Proven | Shown);

/** Nothing in a compose file changes it, or nothing of it alone. */
type Without = { readonly without: string };

/** The service with its container, as it is after the change. */
interface Service {
  readonly machine: Machine;
  readonly folder: string;
  readonly id: string;
  readonly pid: number;
  readonly supervisorPid: number;
}

const exec = ({ machine, folder }: Pick<Service, 'machine' | 'folder'>, command: string): string =>
  machine.composeOk(folder, 'exec', '-T', 'web', 'sh', '-c', command);
/** Stops it. @returns its exit code */
function exitCodeOf({ machine, folder }: Service): number {
  machine.composeOk(folder, 'stop', 'web');
  return (JSON.parse(machine.composeOk(folder, 'ps', '-a', '--format', 'json')) as { ExitCode: number }).ExitCode;
}
/** A process that ends with 42, 43 or, after a while, 44. */
const TRAPS = (signal: string): string =>
  `command: ["sh", "-c", "trap 'exit 42' INT; trap '${signal}' TERM; while :; do sleep 0.1; done"]`;
const namespaceOf = (kind: string): RegExp =>
  new RegExp(readlinkSync(`/proc/self/ns/${kind}`).replace(/[[\]]/g, '\\$&'));

const limits: Record<keyof ResourceLimits, Row> = {
  nanoCpus: { after: 'cpus: 0.5', file: ['cpu/<group>/cpu.cfs_quota_us', '50000'] },
  memoryBytes: {
    before: 'mem_limit: 64m',
    after: 'mem_limit: 96m',
    file: ['memory/<group>/memory.limit_in_bytes', '100663296'],
  },
  memorySwapBytes: {
    before: 'mem_limit: 64m\n    memswap_limit: 100m',
    after: 'mem_limit: 64m\n    memswap_limit: 80m',
    file: ['memory/<group>/memory.memsw.limit_in_bytes', '83886080'],
  },
  pids: { after: 'pids_limit: 40', file: ['pids/<group>/pids.max', '40'] },
  cpuShares: { after: 'cpu_shares: 512', file: ['cpu/<group>/cpu.shares', '512'] },
  blockIo: {
    after: 'blkio_config: {device_write_bps: [{path: /dev/loop0, rate: 2mb}]}',
    file: ['blkio/<group>/blkio.throttle.write_bps_device', '7:0 2097152'],
  },
  cpusetCpus: { after: 'cpuset: "0"', file: ['cpuset/<group>/cpuset.cpus', '0'] },
};

const task: Record<Exclude<keyof TaskSpec, 'container' | 'limits'>, Row | Without> = {
  reservations: { after: 'deploy: {resources: {reservations: {memory: 10m}}}', shown: /"MemoryBytes": 10485760/ },
  restart: {
    after: 'restart: always',
    prove: async ({ machine, folder, id, pid }) => {
      process.kill(pid, 'SIGKILL');
      const next = (): string | undefined =>
        machine
          .composeOk(folder, 'ps', '-q')
          .trim()
          .split('\n')
          .find((one) => one !== '' && one !== id);
      await eventually(next, 'another container');
    },
  },
  networkMode: { after: 'network_mode: none', see: ['ls /sys/class/net', /^lo\s*$/] },
  networks: { after: 'networks: [default, other]', see: ['ls /sys/class/net', /eth1/] },
  links: {
    before: 'networks: [default]',
    after: 'networks: [default]\n    links: ["peer:friend"]',
    beside: 'peer: {image: busybox, command: sleep 1000, init: true, stop_grace_period: 0s}',
    see: ['nslookup friend', /Name:\s+friend\S*\s+Address.*\d/],
  },
  log: {
    before: 'logging: {options: {max-size: 1m}}',
    after: 'logging: {options: {max-size: 2m, max-file: "2"}}',
    prove: async (service) => {
      exec(service, 'yes | head -n 60000 > /proc/1/fd/1');
      const folder = join(service.machine.stateDir, 'engine', 'containers', service.id);
      const logs = (): readonly number[] =>
        readdirSync(folder).flatMap((name) =>
          // One that is rotated just now goes by another name.
          /log/.test(name) ? (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? []) : [],
        );
      const sizes = await eventually(() => (logs().length === 2 ? logs() : undefined), 'a log that was rotated');
      assert.ok(Math.max(...sizes) > 1.5 * 2 ** 20 && Math.max(...sizes) <= 2 * 2 ** 20, String(sizes));
    },
  },
  constraints: { after: 'deploy: {placement: {constraints: ["node.role==manager"]}}', shown: /node\.role==manager/ },
  forceUpdate: {
    after: '',
    by: ['tsswarm', 'service', 'update', '--force', 'app_web'],
    see: ['ls /proc/1', /status/],
  },
  placement: { after: 'deploy: {placement: {preferences: [{spread: node.labels.zone}]}}', shown: /node\.labels\.zone/ },
  fencing: {
    after: 'deploy: {x-fencing: always}',
    prove: ({ supervisorPid }) => assert.match(readFileSync(`/proc/${supervisorPid}/cmdline`, 'utf8'), /\0--lease\0/),
  },
  drift: {
    before: 'pids_limit: 40',
    after: 'pids_limit: 40\n    deploy: {x-drift: report}',
    prove: ({ machine, id }) => {
      const most = join('/sys/fs/cgroup/pids', machine.cgroupParent, id, 'pids.max');
      writeFileSync(most, '39');
      assert.match(machine.ok('tsswarm', 'service', 'ps', '--drift', 'app_web'), /pids\.max +40 +39/);
      assert.equal(readFileSync(most, 'utf8').trim(), '39');
    },
  },
};

const container: Record<keyof ContainerSpec, Row | Without> = {
  image: { after: 'image: nginx', see: ['ls /usr/sbin/nginx', /nginx/] },
  entrypoint: { after: 'entrypoint: ["/bin/sh", "-c", "exec sleep 3000", "--"]', see: ['ps', /sleep 3000/] },
  command: { after: 'command: sleep 2000', see: ['ps', /sleep 2000/] },
  env: { after: 'environment: {A: b}', see: ['echo $A', /^b$/m] },
  workingDir: { after: 'working_dir: /tmp', see: ['pwd', /^\/tmp$/m] },
  user: { after: 'user: "65534"', see: ['id -u', /^65534$/m] },
  groups: { after: 'group_add: ["1234"]', see: ['id -G', /1234/] },
  hostname: { after: 'hostname: renamed', see: ['hostname; cat /etc/hostname', /^renamed\nrenamed$/m] },
  domainname: { after: 'domainname: example.org', see: ['cat /proc/sys/kernel/domainname', /^example\.org$/m] },
  labels: { after: 'labels: {mine: "1"}', shown: /"mine": "1"/ },
  mounts: { before: 'volumes: ["./a:/mnt:ro"]', after: 'volumes: ["./b:/mnt"]', see: ['cat /mnt/file', /^b$/m] },
  secrets: { after: 'secrets: [key]', see: ['cat /run/secrets/key', /^the key$/m] },
  configs: { after: 'configs: [{source: conf, target: /etc/conf}]', see: ['cat /etc/conf', /^the conf$/m] },
  healthCheck: {
    after: 'healthcheck: {test: "touch /checked", interval: 1s}',
    see: ['until [ -e /checked ]; do sleep 0.1; done; echo checked', /checked/],
  },
  stopSignal: {
    before: `${TRAPS('exit 43')}\n    stop_grace_period: 60s`,
    after: `${TRAPS('exit 43')}\n    stop_grace_period: 60s\n    stop_signal: SIGINT`,
    prove: (service) => assert.equal(exitCodeOf(service), 42),
  },
  stopGraceMs: {
    before: TRAPS('sleep 1; exit 44'),
    after: `${TRAPS('sleep 1; exit 44')}\n    stop_grace_period: 60s`,
    prove: (service) => assert.equal(exitCodeOf(service), 44),
  },
  tty: { after: 'tty: true', see: ['readlink /proc/1/fd/1', /^\/dev\//] },
  openStdin: { after: 'stdin_open: true', see: ['readlink /proc/1/fd/0', /^(pipe|socket):/] },
  readOnly: { after: 'read_only: true', see: ['touch /x 2>&1 || true', /Read-only/] },
  privileged: { after: 'privileged: true', see: ['grep CapEff /proc/1/status', /CapEff:\s+0*1[0-9a-f]{8}/] },
  init: { after: 'init: false', see: ['readlink /proc/1/exe', /busybox/] },
  capAdd: { after: 'cap_add: [NET_ADMIN]', see: ['grep CapEff /proc/1/status', /a80435fb/] },
  capDrop: { after: 'cap_drop: [CHOWN]', see: ['grep CapEff /proc/1/status', /a80425fa/] },
  securityOpt: { after: 'security_opt: [no-new-privileges]', see: ['grep NoNewPrivs /proc/1/status', /1$/m] },
  sysctls: { after: 'sysctls: {net.core.somaxconn: "99"}', see: ['cat /proc/sys/net/core/somaxconn', /^99$/m] },
  ulimits: {
    after: 'ulimits: {nofile: {soft: 100, hard: 200}}',
    see: ['grep "open files" /proc/1/limits', / 100 +200 /],
  },
  devices: { after: 'devices: ["/dev/null:/dev/nothing"]', see: ['ls /dev', /nothing/] },
  extraHosts: { after: 'extra_hosts: ["there:10.1.2.3"]', see: ['cat /etc/hosts', /10\.1\.2\.3\tthere/] },
  dns: {
    // Nobody answers at the first one.
    before: 'dns: 127.0.0.99',
    after: 'dns: 127.0.0.98',
    see: ['nslookup outside.example', /192\.0\.2\.77/],
  },
  dnsSearch: { after: 'dns_search: example.com', see: ['cat /etc/resolv.conf', /search example\.com/] },
  dnsOptions: { after: 'dns_opt: ["timeout:1"]', see: ['cat /etc/resolv.conf', /timeout:1/] },
  shmBytes: { after: 'shm_size: 8m', see: ['df -k /dev/shm', / 8192 /] },
  oomScoreAdj: { after: 'oom_score_adj: 300', see: ['cat /proc/1/oom_score_adj', /^300$/m] },
  pullPolicy: { without: 'the next fetch of the image goes by it, and nothing that runs' },
  pidMode: { after: 'pid: host', see: ['readlink /proc/self/ns/pid', namespaceOf('pid')] },
  ipcMode: { after: 'ipc: host', see: ['readlink /proc/self/ns/ipc', namespaceOf('ipc')] },
  postStart: {
    after: 'post_start: [{command: "touch /started"}]',
    prove: (service) => {
      service.machine.composeOk(service.folder, 'restart', 'web');
      assert.match(exec(service, 'ls /started'), /started/);
    },
  },
  preStop: {
    before: 'volumes: ["./a:/mnt"]\n    stop_grace_period: 60s',
    after: 'volumes: ["./a:/mnt"]\n    stop_grace_period: 60s\n    pre_stop: [{command: "touch /mnt/stopped"}]',
    prove: (service) => {
      exitCodeOf(service);
      assert.ok(existsSync(join(service.folder, 'a', 'stopped')));
    },
  },
};

const fields: readonly (readonly [field: string, row: Row | Without])[] = [
  ...Object.entries(limits).map(([key, row]) => [`task.limits.${key}`, row] as const),
  ...Object.entries(task).map(([key, row]) => [`task.${key}`, row] as const),
  ...Object.entries(container).map(([key, row]) => [`task.container.${key}`, row] as const),
];

const BASE: Readonly<Record<string, string>> = {
  image: 'image: busybox',
  init: 'init: true',
  command: 'command: sleep 1000',
  stop_grace_period: 'stop_grace_period: 0s',
};

function yaml(lines: string, beside = ''): string {
  const keys = [...lines.matchAll(/^ *(\w+):/gm)].map(([, key]) => key);
  const base = Object.entries(BASE).flatMap(([name, line]) => (keys.includes(name) ? [] : [line]));
  return `services:
  web:
    ${[...base, ...(lines === '' ? [] : [lines])].join('\n    ')}
  ${beside}
networks: {default: {}, other: {}}
secrets: {key: {file: ./key}}
configs: {conf: {content: "the conf"}}
`;
}

/** A name server that knows one address. */
const NAME_SERVER = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (query, { port, address }) => {
  const end = query.indexOf(0, 12) + 5;
  const isIpv4 = query.readUInt16BE(end - 4) === 1;
  const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, isIpv4 ? 1 : 0, 0, 0, 0, 0]);
  const answer = isIpv4 ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77] : [];
  socket.send(Buffer.concat([head, query.subarray(12, end), Buffer.from(answer)]), port, address);
});
socket.bind(53, '127.0.0.98', () => console.log('ready'));
`;

describe('a change of one field of a service that runs', function () {
  let machine: Machine;
  let server: ReturnType<Machine['start']>;
  before(async function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox', 'nginx']);
    server = machine.start(process.execPath, '-e', NAME_SERVER);
    await new Promise((resolve) => server.stdout.once('data', resolve));
  });
  after(() => {
    server.kill();
    machine.dispose();
  });

  const write = (lines: string, beside?: string): string =>
    machine.project('app', { 'compose.yaml': yaml(lines, beside), key: 'the key', 'a/file': 'a\n', 'b/file': 'b\n' });
  const running = (folder: string): Service => {
    const id = machine.composeOk(folder, 'ps', '-a', '-q', 'web').trim();
    const state = readFileSync(join(machine.dir, 'run', 'engine', 'containers', id, 'state.json'), 'utf8');
    const { pid, supervisorPid } = JSON.parse(state) as Pick<Service, 'pid' | 'supervisorPid'>;
    return { machine, folder, id, pid, supervisorPid };
  };

  for (const [field, row] of fields) {
    if ('without' in row) continue;
    it(`of ${field} does what the plan says, and the container sees it`, async () => {
      const folder = write(row.before ?? '', row.beside);
      machine.composeOk(folder, 'up', '-d', '--remove-orphans');
      const before = running(folder).pid;
      write(row.after, row.beside);
      const [command = 'tscompose', ...words] = row.by ?? ['tscompose', '-f', join(folder, 'compose.yaml'), 'up', '-d'];
      const plan = machine.ok(command, ...words.toSpliced(row.by === undefined ? 3 : 2, 0, '--dry-run'));
      const effects = [...plan.matchAll(/(task\.\S+): (live|replaces tasks, because .+)/g)].map(
        ([, name, effect]) => [name, effect] as const,
      );
      assert.ok(
        effects.some(([name]) => name === field),
        `${field} is not in\n${plan}`,
      );
      const isLive = effects.every(([, effect]) => effect === 'live');
      machine.ok(command, ...words);
      const service = running(folder);
      const how = (): string => machine.ok('tsswarm', 'service', 'ps', '--no-trunc', 'app_web');
      assert.equal(service.pid === before, isLive, `${plan}\n${how()}`);
      if ('see' in row) assert.match(exec(service, row.see[0]), row.see[1]);
      else if ('shown' in row) assert.match(machine.ok('tsswarm', 'service', 'inspect', 'app_web'), row.shown);
      else if ('prove' in row) {
        await row.prove(service);
        machine.composeOk(folder, 'down', '-t', '0');
      } else {
        const path = row.file[0].replace('<group>', `${machine.cgroupParent}/${service.id}`);
        assert.equal(readFileSync(join('/sys/fs/cgroup', path), 'utf8').trim(), row.file[1]);
      }
    });
  }
});

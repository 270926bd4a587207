import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerSpec, ResourceLimits, TaskSpec } from '../../proto/types/index.ts';
import { Machine } from './machine.ts';

/** A change of one field: lines of the service in the compose file, before and after. */
interface Row {
  readonly before?: string;
  readonly after: string;
  /** A command in the container, and what it prints when the container has the new value. */
  readonly see?: readonly [command: string, expected: RegExp];
  /** The same on the node: "/sys/fs/cgroup/pids/<group>/pids.max". */
  readonly file?: readonly [path: string, expected: string];
}
/** Nothing in a compose file changes it, or nothing of it alone. */
type Without = { readonly without: string };

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
  reservations: { after: 'deploy: {resources: {reservations: {memory: 10m}}}' },
  restart: { after: 'restart: always' },
  networkMode: { after: 'network_mode: none', see: ['ls /sys/class/net', /^lo\s*$/] },
  networks: { after: 'networks: [default, other]', see: ['ls /sys/class/net', /eth1/] },
  links: { without: 'it needs another service' },
  log: { before: 'logging: {options: {max-size: 1m}}', after: 'logging: {options: {max-size: 2m, max-file: "2"}}' },
  constraints: { after: 'deploy: {placement: {constraints: ["node.role==manager"]}}' },
  forceUpdate: { without: 'it is what --force counts' },
  placement: { after: 'deploy: {placement: {preferences: [{spread: node.labels.zone}]}}' },
  fencing: { without: 'it is of the long form of x-tsswarm' },
  drift: { after: 'deploy: {x-drift: report}' },
};

const container: Record<keyof ContainerSpec, Row | Without> = {
  image: { after: 'image: docker.io/library/busybox:latest' },
  entrypoint: { after: 'entrypoint: ["env"]' },
  command: { after: 'command: sleep 2000', see: ['ps', /sleep 2000/] },
  env: { after: 'environment: {A: b}', see: ['echo $A', /^b$/m] },
  workingDir: { after: 'working_dir: /tmp', see: ['pwd', /^\/tmp$/m] },
  user: { after: 'user: "65534"', see: ['id -u', /^65534$/m] },
  groups: { after: 'group_add: ["1234"]', see: ['id -G', /1234/] },
  hostname: { after: 'hostname: renamed', see: ['hostname; cat /etc/hostname', /^renamed\nrenamed$/m] },
  domainname: { after: 'domainname: example.org', see: ['cat /proc/sys/kernel/domainname', /^example\.org$/m] },
  labels: { after: 'labels: {mine: "1"}' },
  mounts: { before: 'volumes: ["./a:/mnt:ro"]', after: 'volumes: ["./b:/mnt"]', see: ['cat /mnt/file', /^b$/m] },
  secrets: { after: 'secrets: [key]', see: ['cat /run/secrets/key', /^the key$/m] },
  configs: { after: 'configs: [{source: conf, target: /etc/conf}]', see: ['cat /etc/conf', /^the conf$/m] },
  healthCheck: { after: 'healthcheck: {test: "true", interval: 1s}' },
  stopSignal: { after: 'stop_signal: SIGINT' },
  stopGraceMs: { after: 'stop_grace_period: 1s' },
  tty: { after: 'tty: true' },
  openStdin: { after: 'stdin_open: true' },
  readOnly: { after: 'read_only: true', see: ['touch /x 2>&1 || true', /Read-only/] },
  privileged: { after: 'privileged: true' },
  init: { after: 'init: false', see: ['readlink /proc/1/exe', /busybox/] },
  capAdd: { after: 'cap_add: [NET_ADMIN]' },
  capDrop: { after: 'cap_drop: [CHOWN]' },
  securityOpt: { after: 'security_opt: [no-new-privileges]' },
  sysctls: { after: 'sysctls: {net.core.somaxconn: "99"}', see: ['cat /proc/sys/net/core/somaxconn', /^99$/m] },
  ulimits: {
    after: 'ulimits: {nofile: {soft: 100, hard: 200}}',
    see: ['grep "open files" /proc/1/limits', / 100 +200 /],
  },
  devices: { after: 'devices: ["/dev/null:/dev/nothing"]', see: ['ls /dev', /nothing/] },
  extraHosts: { after: 'extra_hosts: ["there:10.1.2.3"]', see: ['cat /etc/hosts', /10\.1\.2\.3\tthere/] },
  dns: { after: 'dns: 192.0.2.1' },
  dnsSearch: { after: 'dns_search: example.com', see: ['cat /etc/resolv.conf', /search example\.com/] },
  dnsOptions: { after: 'dns_opt: ["timeout:1"]', see: ['cat /etc/resolv.conf', /timeout:1/] },
  shmBytes: { after: 'shm_size: 8m', see: ['df -k /dev/shm', / 8192 /] },
  oomScoreAdj: { after: 'oom_score_adj: 300', see: ['cat /proc/1/oom_score_adj', /^300$/m] },
  pullPolicy: { after: 'pull_policy: missing' },
  pidMode: { after: 'pid: host' },
  ipcMode: { without: 'not every machine has /dev/mqueue' },
  postStart: { after: 'post_start: [{command: "true"}]' },
  preStop: { after: 'pre_stop: [{command: "true"}]' },
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

function yaml(lines: string): string {
  const key = lines.slice(0, lines.indexOf(':'));
  const base = Object.entries(BASE).flatMap(([name, line]) => (name === key ? [] : [line]));
  return `services:
  web:
    ${[...base, ...(lines === '' ? [] : [lines])].join('\n    ')}
networks: {default: {}, other: {}}
secrets: {key: {file: ./key}}
configs: {conf: {content: "the conf"}}
`;
}

describe('a change of one field of a service that runs', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());

  const write = (lines: string): string =>
    machine.project('app', { 'compose.yaml': yaml(lines), key: 'the key', 'a/file': 'a\n', 'b/file': 'b\n' });
  const pid = (folder: string): string => {
    const id = machine.composeOk(folder, 'ps', '-a', '-q').trim();
    return (
      JSON.parse(readFileSync(join(machine.dir, 'run', 'engine', 'containers', id, 'state.json'), 'utf8')) as {
        pid: number;
      }
    ).pid.toString();
  };

  for (const [field, row] of fields) {
    if ('without' in row) continue;
    it(`of ${field} does what the plan says, and the container sees it`, () => {
      const folder = write(row.before ?? '');
      machine.composeOk(folder, 'up', '-d');
      const before = pid(folder);
      write(row.after);
      const plan = machine.composeOk(folder, 'up', '--dry-run');
      const effects = [...plan.matchAll(/(task\.\S+): (live|replaces tasks, because .+)/g)].map(
        ([, name, effect]) => [name, effect] as const,
      );
      const isQuiet = field === 'task.container.pullPolicy';
      assert.ok(isQuiet || effects.some(([name]) => name === field), `${field} is not in\n${plan}`);
      const isLive = effects.every(([, effect]) => effect === 'live');
      machine.composeOk(folder, 'up', '-d');
      assert.equal(pid(folder) === before, isLive, `${plan}\n${machine.ok('tsswarm', 'service', 'ps', 'app_web')}`);
      if (row.see !== undefined) {
        const seen = machine.composeOk(folder, 'exec', '-T', 'web', 'sh', '-c', row.see[0]);
        assert.match(seen, row.see[1]);
      }
      if (row.file !== undefined) {
        const id = machine.composeOk(folder, 'ps', '-q').trim();
        const path = row.file[0].replace('<group>', `${machine.cgroupParent}/${id}`);
        assert.equal(readFileSync(join('/sys/fs/cgroup', path), 'utf8').trim(), row.file[1]);
      }
    });
  }
});

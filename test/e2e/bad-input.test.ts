import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

/** A project whose only service is made of these lines. */
const service = (...lines: readonly string[]): string =>
  `services:\n  web:\n${lines.map((line) => `    ${line}\n`).join('')}`;

describe('bad input gets a clear error and changes nothing', function () {
  let machine: Machine;
  let good: string;
  const running = (): string => machine.ok('tsswarm', 'ps', '-q');
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
    good = machine.project('good', {
      'compose.yaml': service('image: busybox', 'command: sleep 1000', 'init: true', 'ports: ["8080:80"]'),
    });
    machine.composeOk(good, 'up', '-d');
  });
  after(() => machine.dispose());

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['a YAML error', 'services:\n  web: [\n', /compose\.yaml:\d+:\d+: error: reading YAML/],
    [
      'an unknown key',
      service('image: busybox', 'comand: x'),
      /compose\.yaml:4:5: error: unknown key "comand" in "services\.web"\nhint: did you mean "command"\?/,
    ],
    [
      'a key that is not honoured yet',
      service('image: busybox', 'gpus: all'),
      /compose\.yaml:4:5: error: "services\.web\.gpus" is not supported yet/,
    ],
    [
      'a missing variable',
      service('image: busybox:${TAG:?say which}'),
      /compose\.yaml:3:12: error: required variable "TAG" is missing a value: say which/,
    ],
    [
      'a port of another project',
      service('image: busybox', 'command: sleep 1', 'ports: ["8080:80"]'),
      /error: publishing port 8080\/tcp for service "web": service "web" of project "good" has it already/,
    ],
    [
      'an image that is nowhere',
      service('image: localhost:4999/nowhere'),
      /error: pulling "localhost:4999\/nowhere": the registry "localhost:4999" cannot be used: ECONNREFUSED/,
    ],
  ];
  for (const [title, yaml, message] of refused) {
    it(title, () => {
      const before = running();
      const folder = machine.project('bad', { 'compose.yaml': yaml });
      const { code, stderr } = machine.compose(folder, 'up', '-d');
      assert.notEqual(code, 0);
      assert.match(stderr, message);
      assert.equal(running(), before, 'nothing was changed');
      assert.doesNotMatch(machine.ok('tsswarm', 'ps', '-a'), /bad/);
    });
  }

  const failing: readonly (readonly [string, string, RegExp])[] = [
    [
      'a command that does not exist',
      service('image: busybox', 'command: ["nosuchcommand"]'),
      /nosuchcommand.*not found/,
    ],
    [
      'a command that is no program',
      service('image: busybox', 'command: ["/etc/passwd"]'),
      /\/etc\/passwd.*permission denied/i,
    ],
    [
      'a bind source that is missing',
      service('image: busybox', 'command: sleep 1', 'volumes: [{type: bind, source: ./missing, target: /x}]'),
      /\/bad\/missing" at "\/x".*: the source does not exist/,
    ],
  ];
  for (const [title, yaml, message] of failing) {
    it(title, () => {
      const folder = machine.project('bad', { 'compose.yaml': yaml });
      const { code, stderr } = machine.compose(folder, 'up', '-d');
      assert.notEqual(code, 0);
      assert.match(stderr, message);
      machine.composeOk(folder, 'down');
    });
  }

  it('a port that a stranger on the machine holds', async () => {
    const holder = machine.start('busybox', 'nc', '-l', '-p', '8099');
    try {
      await eventually(
        () => (machine.inside(['ss', '-ltn']).includes(':8099') ? true : undefined),
        'the stranger listens',
      );
      const folder = machine.project('bad', {
        'compose.yaml': service('image: busybox', 'command: sleep 1000', 'init: true', 'ports: ["8099:80"]'),
      });
      const { code, stderr } = machine.compose(folder, 'up', '-d');
      assert.notEqual(code, 0);
      assert.match(stderr, /8099/);
      machine.composeOk(folder, 'down');
    } finally {
      holder.kill('SIGKILL');
    }
  });

  it('a container that is killed for memory says so', async () => {
    const eat = 'x=a; while true; do x=$$x$$x; done';
    const folder = machine.project('bad', {
      'compose.yaml': service(
        'image: busybox',
        `command: ["sh", "-c", "${eat}"]`,
        'mem_limit: 16m',
        'memswap_limit: 16m',
      ),
    });
    machine.compose(folder, 'up', '-d');
    await eventually(() => {
      const listed = machine.ok('tsswarm', 'ps', '-a', '--no-trunc');
      return /out of memory \(limit 16 MiB\)/.test(listed) ? true : undefined;
    }, 'the container that has no memory left');
    machine.composeOk(folder, 'down');
  });

  it('an unknown service, an unknown flag and a missing file', () => {
    assert.match(machine.compose(good, 'logs', 'nosuch').stderr, /nosuch/);
    assert.notEqual(machine.compose(good, 'up', '--nosuch').code, 0);
    assert.match(machine.runWith({ cwd: '/' }, 'tscompose', 'ps').stderr, /finding a compose file/);
  });
});

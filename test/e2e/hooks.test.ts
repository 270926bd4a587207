import assert from 'node:assert/strict';
import { Machine, eventually } from './machine.ts';

describe('templates and hooks', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['busybox']);
  });
  after(() => machine.dispose());
  const write = (name: string, text: string): string => machine.project(name, { 'compose.yaml': text });
  const inside = (folder: string, index: number, script: string): string =>
    machine.composeOk(folder, 'exec', '-T', '--index', String(index), 'web', 'sh', '-c', script).trim();
  const refused = (folder: string, expected: RegExp): void => {
    const { code, stderr } = machine.compose(folder, 'up', '-d');
    assert.equal(code, 15, stderr);
    assert.match(stderr, expected);
    assert.equal(machine.composeOk(folder, 'ps', '-a', '-q').trim(), '');
  };

  it('are filled with what each container is: hostname, environment, volumes, configs', () => {
    const folder = machine.project('fill', {
      'settings.conf': 'node={{.Node.Hostname}}\nslot={{.Task.Slot}}\nmode={{env "MODE"}}\nkey={{secret "key"}}\n',
      'compose.yaml': `services:
  web:
    image: busybox
    init: true
    command: sleep 1000
    stop_grace_period: 0s
    hostname: "{{.Service.Labels.tier}}-{{.Task.Slot}}"
    environment:
      MODE: "{{if eq .Task.Slot \\"1\\"}}first{{else}}other{{end}}"
      DOLLAR: "$$X {{\\"{{\\"}}.Name}}"
      WHO: "{{.Service.Name}} {{.Task.Name}}"
    volumes: [data:/data]
    configs: [{source: settings, target: /etc/settings.conf}]
    secrets: [key]
    deploy: {replicas: 2, labels: {tier: front}}
volumes:
  data: {name: "fill-{{.Task.Slot}}"}
configs:
  settings: {file: settings.conf, template_driver: golang}
secrets:
  key: {environment: KEY}
`,
    });
    const { code, stderr } = machine.runWith({ cwd: folder, env: { KEY: 's3cret' } }, 'tscompose', 'up', '-d');
    assert.equal(code, 0, stderr);
    const hostname = machine.ok('hostname').trim();
    assert.equal(inside(folder, 1, 'hostname; echo $MODE; echo "$DOLLAR"; echo $WHO; echo mine > /data/file'), ['front-1', 'first', '$X {{.Name}}', 'fill_web fill-web-1'].join('\n')); // prettier-ignore
    assert.equal(inside(folder, 2, 'hostname; echo $MODE; ls /data'), 'front-2\nother');
    assert.equal(inside(folder, 2, 'cat /etc/settings.conf'), `node=${hostname}\nslot=2\nmode=other\nkey=s3cret`);
    const run = machine.runWith({ cwd: folder, env: { KEY: 's3cret' } }, 'tscompose', 'run', '--rm', '-T', 'web', 'sh', '-c', 'echo $WHO'); // prettier-ignore
    assert.match(run.stdout, /^fill_web fill-web-run-[0-9a-f]+\s*$/, run.stderr);
    machine.composeOk(folder, 'down');
    const again = machine.runWith({ cwd: folder, env: { KEY: 's3cret' } }, 'tscompose', 'up', '-d');
    assert.equal(again.code, 0, again.stderr);
    assert.equal(inside(folder, 1, 'cat /data/file'), 'mine', 'the volume of the slot is still there');
    machine.composeOk(folder, 'down', '-v');
    const volumes = machine.run('ls', `${machine.stateDir}/engine/volumes`).stdout;
    assert.doesNotMatch(volumes, /fill-/);
  });

  it('that cannot be expanded are refused with their place, and nothing is changed', () => {
    const service = (lines: string): string => `services:\n  web:\n    image: busybox\n${lines}\n`;
    refused(
      write('bad', service('    hostname: "{{.Node.Name}}"')),
      /compose\.yaml:4:15: .*"services\.web\.hostname" is "\{\{\.Node\.Name\}\}", a template that cannot be expanded: there is no field "Name"/,
    );
    refused(
      write('bad', service('    environment:\n      - A=1\n      - B={{frob}}')),
      /compose\.yaml:6:9: .*the function "frob" is not known/,
    );
    const config = machine.project('bad', {
      'a.conf': 'fine\n  {{nope}}\n',
      'compose.yaml': `${service('    configs: [a]')}configs: {a: {file: a.conf, template_driver: golang}}\n`,
    });
    refused(config, /a\.conf:2:3: .*reading the template of "configs\.a": the function "nope" is not known/);
  });

  const hooked = (lines: string, command = 'sleep 1000'): string =>
    `services:
  web:
    image: busybox
    init: true
    command: ${command}
    volumes: [./out:/out]
${lines}
`;

  it('run post_start before the container counts as running, and pre_stop before it is stopped', () => {
    const folder = write(
      'hooks',
      hooked(`    environment: {NAME: web}
    post_start:
      - command: [sh, -c, 'echo "$$NAME $$GREETING $$(id -u) $$(pwd)" >> /out/log']
        user: "65534"
        working_dir: /tmp
        environment: {GREETING: hello}
      - command: sh -c 'echo second >> /out/log'
    pre_stop:
      - command: sh -c 'echo bye >> /out/log'`),
    );
    machine.run('mkdir', '-m', '777', `${folder}/out`);
    machine.run('sh', '-c', `touch ${folder}/out/log; chmod 666 ${folder}/out/log`);
    const log = (): string => machine.ok('cat', `${folder}/out/log`);
    machine.composeOk(folder, 'up', '-d', '--wait');
    assert.equal(log(), 'web hello 65534 /tmp\nsecond\n');
    machine.composeOk(folder, 'run', '--rm', '-T', 'web', 'true');
    assert.equal(log(), 'web hello 65534 /tmp\nsecond\n', 'a command beside the service has no hooks');
    machine.composeOk(folder, 'restart', '-t', '5');
    assert.equal(log(), 'web hello 65534 /tmp\nsecond\nbye\nweb hello 65534 /tmp\nsecond\n');
    machine.composeOk(folder, 'stop');
    assert.match(log(), /second\nbye\n$/);
    machine.composeOk(folder, 'down');
    assert.equal(log().match(/bye/g)?.length, 2, 'a container that does not run is not asked before its removal');
  });

  it('stop the container when post_start fails, and say which hook and what it said', () => {
    const folder = write('failing', hooked(`    post_start:\n      - command: sh -c 'echo no database >&2; exit 7'`));
    const { code, stderr } = machine.compose(folder, 'up', '-d', '--wait');
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /post_start hook "sh -c echo no database >&2; exit 7": it ended with exit code 7: no database/,
    );
    assert.equal(machine.composeOk(folder, 'ps', '-q').trim(), '');
    const logs = machine.compose(folder, 'logs', '--no-color').stderr;
    assert.match(logs, /\[post_start\] no database\n/);
    assert.match(logs, /\[post_start\] "sh -c echo no database >&2; exit 7": it ended with exit code 7\n/);
    machine.composeOk(folder, 'down');
  });

  it('that hang before a stop end with the grace period; a failing one holds nothing up', () => {
    const hanging = write('hanging', hooked('    stop_grace_period: 1s\n    pre_stop:\n      - command: sleep 500'));
    machine.composeOk(hanging, 'up', '-d');
    machine.composeOk(hanging, 'down');
    const broken = write('broken', hooked('    pre_stop:\n      - command: [/nowhere]'));
    machine.composeOk(broken, 'up', '-d');
    machine.composeOk(broken, 'stop', '-t', '5');
    assert.match(machine.composeOk(broken, 'ps', '-a'), /Exited \(143\).*: pre_stop hook "\/nowhere"/);
    machine.composeOk(broken, 'down');
  });

  it('are ended when the container is taken down meanwhile', async () => {
    const folder = write('midway', hooked('    stop_grace_period: 0s\n    post_start:\n      - command: sleep 500'));
    const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
    const ended = new Promise((resolve) => up.once('exit', resolve));
    await eventually(
      () => (machine.compose(folder, 'ps', '-a').stdout.includes('midway-web-1') ? true : undefined),
      'the container',
    );
    machine.composeOk(folder, 'down');
    assert.equal(await ended, 1, 'it does not wait for what is not there any more');
  });
});

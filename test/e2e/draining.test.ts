import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

const WEB = (version: string, command: string): string => `services:
  web:
    image: nginx
    command: ${command}
    environment: { VERSION: "${version}" }
    ports: ["8080:80"]
    stop_signal: SIGQUIT
    deploy:
      replicas: 2
      update_config: { parallelism: 1, order: start-first, monitor: 100ms }
`;

describe('a rolling update under load', function () {
  let machine: Machine;
  before(function () {
    this.timeout(120_000);
    machine = Machine.create(['nginx']);
  });
  after(() => machine.dispose());

  const rows: readonly (readonly [string, string])[] = [
    ['a container is told to stop when no port leads to it any more', `["nginx", "-g", "daemon off;"]`],
    ['a port leads to what listens to it', `["sh", "-c", "sleep 0.4; exec nginx -g 'daemon off;'"]`],
  ];
  for (const [title, command] of rows) it(`fails no request: ${title}`, () => isUpdated(command));

  async function isUpdated(command: string): Promise<void> {
    const folder = machine.project('web', { 'compose.yaml': WEB('1', command) });
    machine.composeOk(folder, 'up', '-d', '--wait');
    await eventually(() => machine.fetch('http://127.0.0.1:8080/'), 'the service');
    const running = join(machine.dir, 'running');
    writeFileSync(running, '');
    const script = `n=0
while [ -e ${running} ]; do
  n=$((n+1))
  curl -fsS -m 5 -o /dev/null http://127.0.0.1:8080/ || echo failed $n
done
echo asked $n`;
    const clients = [1, 2].map(() => {
      const client = machine.start('sh', '-c', script);
      let said = '';
      for (const stream of [client.stdout, client.stderr])
        stream.on('data', (data: Buffer) => (said += data.toString()));
      return new Promise<string>((resolve) => client.once('close', () => resolve(said)));
    });
    for (const version of ['2', '3', '4']) {
      machine.project('web', { 'compose.yaml': WEB(version, command) });
      const up = machine.start('tscompose', '-f', `${folder}/compose.yaml`, 'up', '-d');
      assert.equal(await new Promise((resolve) => up.once('exit', resolve)), 0);
    }
    rmSync(running);
    for (const said of await Promise.all(clients)) {
      assert.match(said, /^asked \d+\n$/);
      assert.ok(Number(/\d+/.exec(said)?.[0]) > 20, said);
    }
    machine.composeOk(folder, 'down');
  }
});

import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'quickstart');
const page = 'http://127.0.0.1:8080/';

describe('the quickstart project: nginx, a Node application, redis and postgres', function () {
  let machine: Machine;
  let folder: string;
  before(function () {
    this.timeout(300_000);
    machine = Machine.create(['nginx', 'redis', 'postgres', 'node']);
    folder = join(machine.dir, 'quickstart');
    cpSync(example, folder, { recursive: true });
  });
  after(() => machine.dispose());

  it('comes up, healthy, in the order of its dependencies', () => {
    machine.composeOk(folder, 'up', '-d', '--wait');
    const rows = machine
      .composeOk(folder, 'ps', '-a', '--format', 'json')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { Service: string; State: string; Health: string; ExitCode: number });
    const seen = rows.map(({ Service, State, Health }) => `${Service} ${State} ${Health}`).sort();
    assert.deepEqual(seen, [
      'app running healthy',
      'app running healthy',
      'cache running healthy',
      'db running healthy',
      'migrate exited ',
      'web running healthy',
    ]);
    assert.match(machine.fetch(page) ?? '', /Visit number 1,/);
  });

  it('has nobody on the network but what runs: an address that is given again answers once', () => {
    const ports = machine.ok('ip', '-o', 'link', 'show', 'type', 'veth').trim().split('\n');
    assert.equal(ports.length, 5, ports.join('\n'));
  });

  it('balances one name over two replicas', async () => {
    const hosts = new Set<string>();
    await eventually(() => {
      const host = /answered by <b>(\w+)<\/b>/.exec(machine.fetch(page) ?? '')?.[1];
      if (host !== undefined) hosts.add(host);
      return hosts.size === 2 ? true : undefined;
    }, 'both replicas have answered');
  });

  it('changes nothing when it is brought up again', () => {
    const before = machine.composeOk(folder, 'ps', '-q');
    const { code, stdout, stderr } = machine.compose(folder, 'up', '-d');
    assert.equal(code, 0);
    assert.doesNotMatch(stdout + stderr, /Created|Recreated|Started/);
    assert.equal(machine.composeOk(folder, 'ps', '-q'), before);
  });

  it('keeps the data of a named volume over down and up', () => {
    assert.notEqual(machine.fetch(page, '-d', 'name=Grace', '-L', '--post303'), '');
    assert.match(machine.fetch(page) ?? '', /Grace/);
    machine.composeOk(folder, 'down');
    assert.equal(machine.fetch(page), undefined);
    machine.composeOk(folder, 'up', '-d', '--wait');
    assert.match(machine.fetch(page) ?? '', /Grace/);
  });

  it('gives the secret to the services that ask for it, and to no other', () => {
    assert.equal(
      machine.composeOk(folder, 'exec', '-T', 'app', 'cat', '/run/secrets/db_password'),
      'correct-horse-battery-staple',
    );
    assert.notEqual(machine.compose(folder, 'exec', '-T', 'cache', 'cat', '/run/secrets/db_password').code, 0);
  });

  it('is reached by the database tools of its own image', () => {
    const out = machine.composeOk(
      folder,
      'exec',
      '-T',
      'db',
      'psql',
      '-U',
      'guestbook',
      '-At',
      '-c',
      'SELECT name FROM greetings',
    );
    assert.match(out, /Grace/);
  });

  it('goes down with its volumes and leaves nothing', () => {
    machine.composeOk(folder, 'down', '-v');
    assert.equal(machine.composeOk(folder, 'ps', '-a', '-q'), '');
    machine.composeOk(folder, 'up', '-d', '--wait');
    assert.doesNotMatch(machine.fetch(page) ?? '', /Grace/);
    machine.composeOk(folder, 'down', '-v');
  });
});

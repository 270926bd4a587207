import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Machine, eventually } from './machine.ts';

const WEB = `services:
  web:
    image: busybox
    command: [sleep, infinity]
    stop_grace_period: 100ms
    secrets: [word]
secrets:
  word: { file: word.txt }
`;
const WORD = 'a-word-that-lies-nowhere-in-the-clear';

describe('a manager with autolock', function () {
  let machine: Machine;
  let folder: string;
  let key: string;
  before(function () {
    this.timeout(120_000);
    machine = Machine.bare(`tslock${process.pid}`);
    const said = machine.ok('tsswarm', 'init', '--no-systemd', '--autolock');
    key = /SWMKEY-1-[A-Za-z0-9+/]{43}/.exec(said)?.[0] ?? '';
    machine.load(['busybox']);
    folder = machine.project('shop', { 'compose.yaml': WEB, 'word.txt': WORD });
    machine.composeOk(folder, 'up', '-d', '--wait');
  });
  after(() => machine.dispose());

  const unlock = (text: string) => machine.runWith({ input: `${text}\n` }, 'tsswarm', 'unlock');
  const refused = ({ code, stderr }: { code: number; stderr: string }, message: RegExp): void => {
    assert.notEqual(code, 0);
    assert.match(stderr, message);
    assert.match(stderr, /\nhint: ./);
  };
  const containers = (): string[] =>
    machine
      .inside(['ps', '-eo', 'pid,lstart,args'])
      .split('\n')
      .filter((line) => /\d sleep infinity$/.test(line) && isOurs(Number(line.trim().split(' ')[0])));
  const isOurs = (pid: number): boolean => readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(machine.cgroupParent);
  /** Kills the daemon (-9) and starts it again. */
  const restart = async (): Promise<string> => {
    const pid = machine.daemonPid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await eventually(() => (machine.daemonPid() === pid ? undefined : true), 'the end of the daemon');
    return machine.ok('tsswarm', 'init', '--no-systemd');
  };

  it('has nothing on its disk that tells what it knows', () => {
    assert.equal(machine.ok('tsswarm', 'unlock-key', '-q').trim(), key);
    const manager = join(machine.stateDir, 'manager');
    // A file that is written anew goes by another name for a moment: what it holds is read under its own.
    const tells = (path: string, word: string): boolean => {
      try {
        return readFileSync(path).includes(word);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw error;
      }
    };
    assert.equal(statSync(join(manager, 'dek.json')).mode & 0o777, 0o600);
    for (const word of [WORD, 'BEGIN PRIVATE KEY', key.slice(9)]) {
      const found = readdirSync(machine.stateDir, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile() && !file.parentPath.includes('engine'))
        .map((file) => join(file.parentPath, file.name))
        .filter((path) => tells(path, word));
      assert.deepEqual(found, [], word);
    }
  });

  it('is locked when it was killed and started again, says so, and its containers run on', async () => {
    const before = containers();
    assert.equal(before.length, 1);
    assert.match(await restart(), /locked: its containers run/);
    assert.match(machine.ok('tsswarm', 'status'), /Locked: {5}yes.*\n.*tsswarm unlock.*\nContainers: 1 running/);
    for (const argv of [['ps'], ['node', 'ls'], ['image', 'ls'], ['unlock-key'], ['update', '--autolock=false']])
      refused(machine.run('tsswarm', ...argv), /it is locked/);
    refused(machine.compose(folder, 'ps'), /it is locked/);
    refused(machine.run('tsswarm', 'init', '--force-new-cluster'), /it is locked/);
    refused(machine.run('tsswarm', 'leave'), /is locked/);
    assert.deepEqual(containers(), before);
  });

  it('refuses what is no key, and a wrong one', () => {
    refused(unlock('abc'), /malformed/);
    refused(unlock(`SWMKEY-1-${'A'.repeat(43)}`), /the unlock key is wrong/);
    assert.match(machine.ok('tsswarm', 'status'), /Locked/);
  });

  it('goes on with the right one: everything is there, and no container has been touched', () => {
    const before = containers();
    assert.equal(unlock(key).code, 0);
    assert.doesNotMatch(machine.ok('tsswarm', 'status'), /Locked/);
    assert.match(machine.composeOk(folder, 'ps'), /web-1/);
    assert.equal(machine.composeOk(folder, 'exec', '-T', 'web', 'cat', '/run/secrets/word').trim(), WORD);
    assert.deepEqual(containers(), before);
    refused(unlock(key), /is not locked/);
  });

  it('takes a new key, and the old one unlocks nothing any more', async () => {
    const said = machine.ok('tsswarm', 'unlock-key', '--rotate');
    const next = machine.ok('tsswarm', 'unlock-key', '-q').trim();
    assert.ok(said.includes(next) && next !== key);
    await restart();
    refused(unlock(key), /the unlock key is wrong/);
    assert.equal(unlock(next).code, 0);
    assert.equal(containers().length, 1);
  });

  it('needs no key any more when autolock is switched off', async () => {
    machine.ok('tsswarm', 'update', '--autolock=false');
    refused(machine.run('tsswarm', 'unlock-key'), /autolock is off/);
    refused(machine.run('tsswarm', 'unlock-key', '--rotate'), /autolock is off/);
    assert.match(readFileSync(join(machine.stateDir, 'identity', 'node.pem'), 'utf8'), /BEGIN PRIVATE KEY/);
    assert.doesNotMatch(await restart(), /locked/);
    assert.equal(machine.composeOk(folder, 'exec', '-T', 'web', 'cat', '/run/secrets/word').trim(), WORD);
    refused(machine.run('tsswarm', 'update', '--autolock', 'maybe'), /expected true or false/);
  });

  it('can be left by force while it is locked', async () => {
    machine.ok('tsswarm', 'update', '--autolock=true');
    await restart();
    machine.ok('tsswarm', 'leave', '--force');
    assert.deepEqual(containers(), []);
    assert.ok(!existsSync(join(machine.stateDir, 'manager')) && !existsSync(join(machine.stateDir, 'identity')));
  });
});

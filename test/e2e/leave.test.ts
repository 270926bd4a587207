import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from './machine.ts';

describe('the last manager, with a service and a network that were made by command', function () {
  this.timeout(60_000);
  let machine: Machine;
  before(() => {
    machine = Machine.create(['busybox']);
    machine.ok('tsswarm', 'network', 'create', 'standing');
    const flags = ['--name', 'web', '--network', 'standing', '--stop-grace-period', '1s'];
    machine.ok('tsswarm', 'service', 'create', ...flags, 'busybox', 'sleep', '1000');
  });
  after(() => machine.dispose());

  it('says what still runs when it is to leave', () => {
    assert.match(machine.run('tsswarm', 'leave').stderr, /this is the last manager, .* and "web" still run/);
  });

  it('takes the service down at once, and waits for nothing that does not go by itself', () => {
    machine.ok('tsswarm', 'leave', '--force');
    const log = readFileSync(join(machine.stateDir, 'tsswarmd.log'), 'utf8');
    assert.match(log, /"container exited"/);
    assert.doesNotMatch(log, /leaving before everything has ended|stop grace is over.*stop grace is over/s);
  });
});

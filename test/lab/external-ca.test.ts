import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cfssl } from '../builders/cfssl.ts';
import { eventually } from '../e2e/machine.ts';
import { Lab } from './lab.ts';

describe('a cluster that begins with an external CA', function () {
  let lab: Lab;
  let cfssl: Cfssl;
  before(function () {
    this.timeout(60_000);
    lab = Lab.create('tsxca', 3);
    cfssl = Cfssl.create(join(lab.machine(0).dir, 'cfssl'), lab.address(0));
  });
  after(async () => {
    await cfssl.stop();
    lab.dispose();
  });

  const ok = (...argv: readonly string[]): string => lab.machine(0).ok('tsswarm', ...argv);
  const inits = (spec: string, ...more: readonly string[]) => {
    const argv = ['init', '--no-systemd', '--node-name', 'm0', '--advertise-addr', lab.address(0), ...more];
    return lab.machine(0).run('tsswarm', ...argv, '--external-ca', spec);
  };
  const refused = (spec: string, message: RegExp, hint: RegExp, ...more: readonly string[]): void => {
    const { code, stdout, stderr } = inits(spec, ...more);
    assert.notEqual(code, 0, stdout);
    assert.match(stderr, message);
    assert.match(/\nhint: (.*)/.exec(stderr)?.[1] ?? '', hint);
    assert.ok(!existsSync(join(lab.machine(0).dir, 'state', 'manager')), 'nothing was begun');
  };

  it('begins with the root of that CA, tells what is wrong before, and goes to a root of its own later', async function () {
    this.timeout(120_000);
    const { cert, key } = cfssl.client('operator');
    const named = `protocol=cfssl,url=${cfssl.url},cacert=${cfssl.rootFile}`;
    const whole = `${named},cert=${cert},key=${key}`;
    refused(`protocol=cfssl,url=${cfssl.url}`, /which root it signs with is not said/, /cacert=<file>/);
    refused(`${named},cert=${cert}`, /there is one of cert and key/, /./);
    refused(`${named},cert=${cert},key=${join(lab.machine(0).dir, 'cfssl', 'root.key')}`, /is not that of the/, /./);
    refused(whole, /the external CA ".*" decides it/, /"expiry"/, '--cert-expiry', '48h');
    refused(whole, /asking the external CA ".*" for a certificate: connect ECONNREFUSED/, /check that it runs/);
    cfssl.start((...argv) => lab.machine(0).start(...argv), '');
    const connects = `</dev/tcp/${lab.address(0)}/8888`;
    await eventually(() => (lab.machine(0).run('bash', '-c', connects).code === 0 ? true : undefined), 'cfssl');
    refused(
      named,
      /lets nobody in without a certificate|closes the connection|does not take/,
      /cert=<file>,key=<file>/,
    );

    const begun = inits(whole);
    assert.equal(begun.code, 0, begun.stderr);
    assert.equal(ok('ca'), readFileSync(cfssl.rootFile, 'utf8'));
    const token = (role: string): string => ok('join-token', '-q', role).trim();
    lab.join(1, token('manager'));
    lab.join(2, token('worker'));
    const nodes = (format: string): string => ok('node', 'ls', '--format', format).trim().split('\n').join();
    await eventually(() => (nodes('{{.Status}}') === 'Ready,Ready,Ready' ? true : undefined), 'three nodes');
    for (const id of ok('node', 'ls', '-q').trim().split('\n')) {
      const ends = Date.parse(ok('node', 'inspect', id, '-f', '{{.Certificate.ExpiresAt}}').trim());
      assert.ok(ends <= Date.now() + 36 * 3_600_000, 'what the CA issues');
    }
    const again = lab.machine(0).run('tsswarm', 'init', '--no-systemd', '--external-ca', whole);
    assert.match(again.stderr, /--external-ca: its cluster exists already|one runs/);

    const rotated = lab.machine(0).run('tsswarm', 'ca', '--rotate');
    assert.equal(rotated.code, 0, rotated.stderr);
    assert.notEqual(rotated.stdout, readFileSync(cfssl.rootFile, 'utf8'));
    await cfssl.stop();
    lab.machine(2).ok('tsswarm', 'leave');
    lab.join(2, token('worker'));
    await eventually(
      () => (nodes('{{.Status}} {{.TLSStatus}}').match(/Ready Ready/g)?.length === 3 ? true : undefined),
      'joined',
    );
  });
});

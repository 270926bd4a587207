import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../base/errors.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import { newUnlockKey, parseUnlockKey, sealer } from '../../manager/raft/seal/index.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import { systemRandom } from '../../base/random.ts';
import { identityDisk } from './disk.ts';

describe('the identity on disk', () => {
  let dir: string;
  let identity: TlsIdentity;
  before(async () => {
    identity = (await caCluster()).manager.current;
  });
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'tsswarm-identity-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const nodeFile = (): string => join(dir, 'id', 'node.pem');

  it('is what was saved, and nobody else may read it', async () => {
    const disk = identityDisk(join(dir, 'id'));
    assert.equal(await disk.load(), undefined);
    await disk.save(identity);
    await disk.save(identity);
    assert.deepEqual(await disk.load(), identity);
    assert.equal(statSync(nodeFile()).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(dir, 'id')).sort(), ['node.pem', 'roots.pem']);
    await disk.remove();
    assert.equal(await disk.load(), undefined);
  });

  it('survives a crash in the middle of a save', async () => {
    const disk = identityDisk(join(dir, 'id'));
    await disk.save(identity);
    writeFileSync(`${nodeFile()}.new`, 'half a fi');
    assert.deepEqual(await disk.load(), identity);
    await disk.save(identity);
    assert.deepEqual(await disk.load(), identity);
  });

  it('is refused when others may read the key', async () => {
    const disk = identityDisk(join(dir, 'id'));
    await disk.save(identity);
    chmodSync(nodeFile(), 0o640);
    await assert.rejects(
      disk.load(),
      (error) => isTsswarmError(error, 'PERMISSION_DENIED') && /640/.test(error.message),
    );
  });

  it('is refused when it is damaged', async () => {
    const disk = identityDisk(join(dir, 'id'));
    await disk.save(identity);
    writeFileSync(nodeFile(), readFileSync(nodeFile(), 'utf8').slice(0, 300));
    await assert.rejects(disk.load(), (error) => isTsswarmError(error, 'CORRUPT'));
  });

  it('keeps its key sealed where the cluster is locked', async () => {
    let active = true;
    const by = (key: string) => {
      const seal = sealer(parseUnlockKey(key), systemRandom);
      return () => ({ ...seal, active });
    };
    const sealed = identityDisk(join(dir, 'id'), by(newUnlockKey(systemRandom)));
    await sealed.save(identity);
    const inTheClear = (): boolean => readFileSync(nodeFile(), 'utf8').includes('BEGIN PRIVATE KEY');
    assert.ok(!inTheClear());
    assert.deepEqual(await sealed.load(), identity);
    assert.equal((await identityDisk(join(dir, 'id')).peek())?.node.role, 'manager');
    await assert.rejects(identityDisk(join(dir, 'id')).load(), /is locked/);
    const wrong = identityDisk(join(dir, 'id'), by(newUnlockKey(systemRandom)));
    await assert.rejects(wrong.load(), (error) => isTsswarmError(error, 'PERMISSION_DENIED'));
    active = false;
    await Promise.all([sealed.reseal(), sealed.save(identity), sealed.reseal()]);
    assert.ok(inTheClear());
    assert.deepEqual(await identityDisk(join(dir, 'id')).load(), identity);
    active = true;
    await sealed.reseal();
    assert.ok(!inTheClear());
  });
});

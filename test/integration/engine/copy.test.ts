import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { isTsswarmError } from '../../../base/errors.ts';
import { LAUNCHER_PROGRAM } from '../../../cli/local-node/program.ts';
import { copyTree, fileTree } from '../../../node-engine/inspection/files.ts';
import { extract, pack } from 'tar-stream';

const CAPABILITY = 'SCHILY.xattr.security.capability';
const NOTE = 'SCHILY.xattr.user.note';
/** cap_net_bind_service+ep, as the kernel keeps it (VFS_CAP_REVISION_2). */
const BIND = Buffer.from('0100000200040000000000000000000000000000', 'hex').toString('latin1');

describe('copies of files', () => {
  let dir: string;
  const root = (name: string) => ({ program: LAUNCHER_PROGRAM, root: ['--root', join(dir, name)], name });
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'copy-'));
    for (const name of ['one', 'two']) mkdirSync(join(dir, name));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  /** Pax headers of an archive, by name. */
  const headersOf = async (archive: AsyncIterable<Uint8Array>): Promise<Record<string, object>> => {
    const reader = extract();
    Readable.from(archive).pipe(reader);
    const found: Record<string, object> = {};
    for await (const entry of reader) {
      found[entry.header.name] = entry.header.pax ?? {};
      entry.resume();
    }
    return found;
  };
  const marked = (): AsyncIterable<Uint8Array> => {
    const archive = pack();
    archive.entry({ name: 'd', type: 'directory', pax: { [NOTE]: 'of a folder' } });
    archive.entry({ name: 'd/f', mode: 0o750, uid: 7, gid: 8, pax: { [NOTE]: 'a=b', [CAPABILITY]: BIND } }, 'text');
    archive.finalize();
    return archive as AsyncIterable<Uint8Array>;
  };

  it('carry extended attributes, capabilities of programs only with their owners', async () => {
    const packed = (name: string) => headersOf(fileTree(root(name)).pack('/d', { followLink: false, name: '' }));
    await fileTree(root('one')).unpack('/', marked(), { keepOwners: false });
    assert.deepEqual(await packed('one'), { 'd/': { [NOTE]: 'of a folder' }, 'd/f': { [NOTE]: 'a=b' } });
    await fileTree(root('two')).unpack('/', marked(), { keepOwners: true });
    assert.ok(Object.keys((await packed('two'))['d/f'] ?? {}).includes(CAPABILITY));
  });

  it('go from launcher to launcher', async () => {
    mkdirSync(join(dir, 'one/d'));
    writeFileSync(join(dir, 'one/d/f'), 'x'.repeat(300_000), { mode: 0o640 });
    const source = { ...root('one'), path: '/d', followLink: false, as: 'e' };
    const { bytes } = await copyTree(source, { ...root('two'), path: '/', keepOwners: true });
    assert.equal(bytes, 300_000);
    assert.equal(readFileSync(join(dir, 'two/e/f'), 'utf8'), 'x'.repeat(300_000));
    assert.equal(statSync(join(dir, 'two/e/f')).mode & 0o777, 0o640);
  });

  it('say whose fault it is when they fail', async () => {
    writeFileSync(join(dir, 'one/f'), 'x'.repeat(3_000_000));
    const copy = (from: string, to: string) =>
      copyTree(
        { ...root('one'), path: from, followLink: false, as: '' },
        { ...root('two'), path: to, keepOwners: false },
      );
    await assert.rejects(copy('/nothing', '/'), (error) => {
      assert.ok(isTsswarmError(error, 'NOT_FOUND'), String(error));
      assert.match(error.message, /copying "\/nothing" of one/);
      return true;
    });
    await assert.rejects(copy('/f', '/nowhere'), (error) => {
      assert.ok(isTsswarmError(error, 'NOT_FOUND'), String(error));
      assert.match(error.message, /writing to "\/nowhere" of two/);
      return true;
    });
    mkdirSync(join(dir, 'two/f'));
    await assert.rejects(copy('/f', '/'), /there is a directory of that name/);
  });
});

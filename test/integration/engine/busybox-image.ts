import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import tar from 'tar-stream';

/** Where Debian's busybox-static puts its one program. */
const BUSYBOX = '/bin/busybox';

interface Entry {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink';
  readonly mode?: number;
  readonly uid?: number;
  readonly linkname?: string;
  readonly content?: string | Buffer;
}

/** The files of the test image: busybox, two accounts, and a folder that volumes are filled from. */
function rootEntries(): readonly Entry[] {
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  const folder = (name: string, mode = 0o755, uid = 0): Entry => ({ name, type: 'directory', mode, uid });
  return [
    ...['bin', 'etc', 'root', 'seed', 'usr', 'usr/bin', 'srv'].map((name) => folder(name)),
    folder('tmp', 0o1777),
    folder('seed/own', 0o750, 1000),
    { name: 'bin/busybox', mode: 0o755, content: readFileSync(BUSYBOX) },
    ...applets
      .filter((applet) => applet !== 'busybox')
      .map((applet): Entry => ({ name: `bin/${applet}`, type: 'symlink', linkname: 'busybox' })),
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/srv:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\napp:x:1000:\nextra:x:2000:app\n' },
    { name: 'seed/own/file', mode: 0o640, uid: 1000, content: 'from the image\n' },
    { name: 'seed/own/link', type: 'symlink', linkname: 'file' },
    { name: 'srv/plain', mode: 0o644, content: 'not a program\n' },
  ];
}

async function pack(entries: readonly Entry[]): Promise<Buffer> {
  const stream = tar.pack();
  for (const { name, type = 'file', mode = 0o644, uid = 0, linkname, content = '' } of entries) {
    const header = { name, type, mode, uid, gid: uid, mtime: new Date(0), ...(linkname ? { linkname } : {}) };
    if (type === 'file') stream.entry(header, content);
    else stream.entry(header);
  }
  stream.finalize();
  return buffer(stream);
}

/**
 * A `docker save` archive of an image named `name` that has busybox.
 * @param config laid over the image's `config` object (Docker's field names)
 */
export async function busyboxArchive(name: string, config: object = {}): Promise<Buffer> {
  const layer = await pack(rootEntries());
  const diffId = `sha256:${createHash('sha256').update(layer).digest('hex')}`;
  const document = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: ['sh'], Env: ['FROM_IMAGE=yes'], ...config },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [],
  };
  return pack([
    { name: 'config.json', content: JSON.stringify(document) },
    { name: 'layer.tar', content: layer },
    {
      name: 'manifest.json',
      content: JSON.stringify([{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }]),
    },
  ]);
}

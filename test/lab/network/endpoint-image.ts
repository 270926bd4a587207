import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packLayer, writeArchive } from '../../../deploy/images/archive.ts';

/** The program alone: static, for containers of whatever image that mount it. */
export function buildEndpoint(path: string): void {
  execFileSync('gcc', [
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-static',
    '-s',
    '-o',
    path,
    join(import.meta.dirname, 'endpoint.c'),
  ]);
}

/**
 * Makes an image that holds nothing but the server of endpoint.c.
 * @param archive path of the archive that is written
 */
export async function buildEndpointImage(name: string, archive: string): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'tsswarm-endpoint-'));
  try {
    const root = join(work, 'root');
    mkdirSync(root);
    buildEndpoint(join(root, 'endpoint'));
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
    const layer = await packLayer(root, work, 'endpoint');
    writeArchive(archive, work, [`${name}:latest`], [layer], { Entrypoint: ['/endpoint'] }, architecture);
  } finally {
    rmSync(work, { recursive: true });
  }
}

import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { arch, release } from 'node:os';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import { compileProfile } from './compile.ts';
import { DEFAULT_PROFILE } from './default-profile.ts';
import { parseProfile } from './parse-profile.ts';
import type { Circumstances } from './profile.ts';
import { parseKernelVersion } from './profile.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/**
 * Compiled profiles as files that the launcher reads, named after the SHA-256 of their bytes, so that containers with the
 * same rules share one and another version of ours never takes an older one's for its own.
 */
export class CompiledPrograms {
  readonly #dir: string;
  readonly #names = new Map<string, string>();

  /** @param dir made when the first program is written; only root may enter it */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * @param profile "default" or the absolute path of a profile in Docker's JSON format, read anew each time
   * @param capabilities the container's bounding set
   * @returns path of the program
   * @throws INVALID_INPUT or NOT_SUPPORTED for a profile that cannot be read or compiled; system errors of writing
   */
  async programPath(profile: string, capabilities: readonly string[]): Promise<string> {
    const text = profile === 'default' ? '' : await readProfile(profile);
    const key = JSON.stringify([text, capabilities.toSorted()]);
    const known = this.#names.get(key);
    if (known !== undefined && existsSync(known)) return known;
    const parsed = profile === 'default' ? DEFAULT_PROFILE : parseProfile(text, profile);
    const program = compileProfile(parsed, circumstancesOf(capabilities));
    const path = join(this.#dir, `${createHash('sha256').update(program).digest('hex')}.bpf`);
    if (!existsSync(path)) await this.#write(path, program);
    this.#names.set(key, path);
    return path;
  }

  async #write(path: string, program: Buffer): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const temporary = `${path}.${randomUUID()}`;
    try {
      await writeFile(temporary, program, { mode: 0o600, flag: 'wx' });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

function circumstancesOf(capabilities: readonly string[]): Circumstances {
  return {
    architecture: ARCHITECTURES[arch()] ?? arch(),
    // A kernel with an unheard-of version gets no rule that wants a newer one.
    kernel: parseKernelVersion(release()) ?? { major: 0, minor: 0 },
    capabilities: new Set(capabilities),
  };
}

async function readProfile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === undefined) throw cause;
    throw new TsswarmError('INVALID_INPUT', `reading the seccomp profile "${path}": ${errno}, expected a JSON file`, {
      cause,
      hint: 'give the absolute path of a profile on this node, or "seccomp=unconfined"',
    });
  }
}

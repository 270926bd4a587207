import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';

/** Files as the loader sees them. */
export interface FileReader {
  /** Text of a file; "-" is standard input. @throws NOT_FOUND, INVALID_INPUT */
  read(path: string): Promise<string>;
  exists(path: string): Promise<boolean>;
  /** Bytes of a secret or config. @throws NOT_FOUND, INVALID_INPUT */
  readBytes(path: string): Promise<Uint8Array>;
}

const NAMES = ['compose.yaml', 'compose.yml', 'docker-compose.yml', 'docker-compose.yaml'];
const OVERRIDES = [
  'compose.override.yml',
  'compose.override.yaml',
  'docker-compose.override.yml',
  'docker-compose.override.yaml',
];

/**
 * The machine's files. Standard input is read once and kept. A command has nothing else to do while it reads some small files:
 * loading Node's promises for that takes longer than the reading.
 */
export function diskReader(stdin: () => Promise<string>): FileReader {
  let input: Promise<string> | undefined;
  const bytes = (path: string): Uint8Array => {
    try {
      return readFileSync(path);
    } catch (cause) {
      const errno = errnoOf(cause);
      if (errno === 'ENOENT') throw new TsswarmError('NOT_FOUND', `reading "${path}": no such file`, { cause });
      const reason = errno === 'EISDIR' ? 'it is a directory, expected a file' : (errno ?? 'unknown error');
      throw new TsswarmError('INVALID_INPUT', `reading "${path}": ${reason}`, { cause });
    }
  };
  return {
    read: async (path) => (path === '-' ? (input ??= stdin()) : new TextDecoder().decode(bytes(path))),
    readBytes: async (path) => bytes(path),
    exists: async (path) => {
      try {
        return statSync(path).isFile();
      } catch {
        return false;
      }
    },
  };
}

/**
 * The compose files of a project, absolute: `-f`, else COMPOSE_FILE, else the first known name in this directory or one
 * above it, with its override file beside it.
 * @throws NOT_FOUND
 */
export async function findComposeFiles(
  reader: FileReader,
  options: {
    readonly currentDir: string;
    readonly files: readonly string[];
    readonly environment: Readonly<Record<string, string | undefined>>;
    readonly projectDirectory?: string;
  },
  variables: (name: string) => string | undefined,
  warnings: string[],
): Promise<readonly string[]> {
  const fromVariable =
    variables('COMPOSE_FILE')
      ?.split(variables('COMPOSE_PATH_SEPARATOR') ?? ':')
      .filter(Boolean) ?? [];
  const listed = options.files.length > 0 ? options.files : fromVariable;
  if (listed.length > 0) {
    const files = listed.map((file) => (file === '-' ? file : resolve(options.currentDir, file)));
    for (const [index, file] of files.entries()) {
      if (file === '-' || (await reader.exists(file))) continue;
      throw new TsswarmError('NOT_FOUND', `opening compose file "${listed[index] ?? ''}": no such file`);
    }
    return files;
  }
  for (let directory = resolve(options.projectDirectory ?? options.currentDir); ; directory = dirname(directory)) {
    const found: string[] = [];
    for (const name of NAMES) if (await reader.exists(join(directory, name))) found.push(name);
    const [first] = found;
    if (first !== undefined) {
      if (found.length > 1)
        warnings.push(`found several compose files: ${found.join(', ')}; using ${join(directory, first)}`);
      const files = [join(directory, first)];
      for (const name of OVERRIDES) {
        if (await reader.exists(join(directory, name))) {
          files.push(join(directory, name));
          break;
        }
      }
      return files;
    }
    if (dirname(directory) === directory) break;
  }
  throw new TsswarmError(
    'NOT_FOUND',
    `finding a compose file: none of ${NAMES.join(', ')} in this directory or above`,
    {
      hint: "change to the project's directory, or name the file with -f",
    },
  );
}

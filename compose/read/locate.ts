import { basename, dirname, join, resolve } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import type { SourceLocation } from '../../base/errors.ts';
import { parseEnvFile } from '../template/env-file.ts';
import { interpolateTree } from '../template/tree.ts';
import type { FileReader } from './files.ts';
import { findComposeFiles } from './files.ts';
import { parseYaml } from './yaml.ts';

export interface LoadOptions {
  readonly reader: FileReader;
  /** Where the command was started. */
  readonly currentDir: string;
  /** `-f`; empty: COMPOSE_FILE, else searched for. "-" is standard input. */
  readonly files: readonly string[];
  /** `--env-file`; empty: `.env` of the project directory. */
  readonly envFiles: readonly string[];
  readonly projectName?: string;
  readonly projectDirectory?: string;
  readonly profiles: readonly string[];
  /** Services named on the command line. */
  readonly services: readonly string[];
  /** The process's environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `config --no-interpolate`. */
  readonly interpolate?: boolean;
}

/** Where a project is and what it is called: all that commands on a project that runs need to know of its files. */
export interface LocatedProject {
  readonly name: string;
  readonly files: readonly string[];
  /** Absolute; relative paths of the files start here. */
  readonly workingDir: string;
  /** Variables for interpolation: the environment over `.env`. */
  readonly variables: (name: string) => string | undefined;
}

/**
 * Finds the files of a project, its `.env` and its name, without a look at what else is in them.
 * @param warnings receives remarks for the user
 * @throws NOT_FOUND when there is no compose file; INVALID_INPUT, INVALID_COMPOSE for a name that is none
 */
export async function locateProject(options: LoadOptions, warnings: string[]): Promise<LocatedProject> {
  const { reader, environment } = options;
  const earlyEnv = await readDotEnv(options, options.projectDirectory ?? options.currentDir, true);
  const outer = (name: string): string | undefined => environment[name] ?? earlyEnv.get(name);
  const files = await findComposeFiles(reader, options, outer, warnings);
  const workingDir = resolve(
    options.currentDir,
    options.projectDirectory ?? (files[0] === '-' || files[0] === undefined ? options.currentDir : dirname(files[0])),
  );
  const dotEnv = await readDotEnv(options, workingDir, false);
  const variables = (name: string): string | undefined => environment[name] ?? dotEnv.get(name);
  return { name: await projectName(options, files, workingDir, variables), files, workingDir, variables };
}

async function readDotEnv(
  options: LoadOptions,
  directory: string,
  quiet: boolean,
): Promise<ReadonlyMap<string, string>> {
  const { environment, reader } = options;
  const listed =
    options.envFiles.length > 0
      ? options.envFiles
      : (environment['COMPOSE_ENV_FILES']?.split(',').filter(Boolean) ?? []);
  const values = new Map<string, string>();
  if (listed.length === 0 && /^(1|true)$/i.test(environment['COMPOSE_DISABLE_ENV_FILE'] ?? '')) return values;
  const files = listed.length > 0 ? listed.map((file) => resolve(options.currentDir, file)) : [join(directory, '.env')];
  for (const file of files) {
    if (!(await reader.exists(file))) {
      if (listed.length === 0 || quiet) continue;
      throw new TsswarmError('NOT_FOUND', `reading env file "${file}": no such file`);
    }
    const parsed = parseEnvFile(await reader.read(file), file, (name) => environment[name] ?? values.get(name));
    for (const [key, value] of parsed) values.set(key, value);
  }
  return values;
}

/** `-p` > COMPOSE_PROJECT_NAME > `name:` of the last file that has one > the directory's name. */
async function projectName(
  options: LoadOptions,
  files: readonly string[],
  workingDir: string,
  variables: (name: string) => string | undefined,
): Promise<string> {
  const given = options.projectName ?? (variables('COMPOSE_PROJECT_NAME') || undefined);
  if (given !== undefined) {
    if (/^[a-z0-9][a-z0-9_-]*$/.test(given)) return given;
    throw new TsswarmError('INVALID_INPUT', `using project name "${given}": it must match [a-z0-9][a-z0-9_-]*`);
  }
  let found: { readonly value: string; readonly where: SourceLocation } | undefined;
  for (const file of files) {
    for (const tree of parseYaml(await options.reader.read(file), file)) {
      const node = tree.kind === 'map' ? tree.entries.get('name')?.node : undefined;
      if (node?.kind !== 'scalar' || node.value === null) continue;
      const settled = interpolateTree(node, variables, () => undefined);
      if (settled.kind === 'scalar') found = { value: String(settled.value), where: node.where };
    }
  }
  if (found !== undefined) {
    if (/^[a-z0-9][a-z0-9_-]*$/.test(found.value)) return found.value;
    throw new TsswarmError('INVALID_COMPOSE', `"name" is "${found.value}", expected to match [a-z0-9][a-z0-9_-]*`, {
      where: found.where,
    });
  }
  const normal = basename(workingDir)
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '')
    .replace(/^[_-]+/, '');
  if (normal !== '') return normal;
  throw new TsswarmError(
    'INVALID_INPUT',
    `naming the project after "${workingDir}": nothing of the directory's name can be used`,
    {
      hint: 'give a name with -p',
    },
  );
}

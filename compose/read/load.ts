import { dirname, resolve } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import { resolveExtends } from '../merge/extends.ts';
import { mergeTrees, settleTags } from '../merge/merge.ts';
import { readProject } from '../normalise/project.ts';
import { Reader } from '../normalise/reader.ts';
import { validateTree } from '../schema/validate.ts';
import { parseEnvFile } from '../template/env-file.ts';
import { interpolateTree } from '../template/tree.ts';
import type { MapEntry, TreeNode } from '../types/node.ts';
import type { ComposeProject } from '../types/project.ts';
import type { FileReader } from './files.ts';
import { locateProject } from './locate.ts';
import type { LoadOptions } from './locate.ts';
import { parseYaml } from './yaml.ts';

export type { LoadOptions };

export interface LoadedProject {
  readonly project: ComposeProject;
  readonly warnings: readonly string[];
}

/**
 * Loads a project: files, `.env`, interpolation, `extends`, merge, schema, canonical form.
 * @throws INVALID_COMPOSE or NOT_SUPPORTED with file, line and column; NOT_FOUND when there is no compose file
 */
export async function loadProject(options: LoadOptions): Promise<LoadedProject> {
  const { reader } = options;
  const warnings: string[] = [];
  const { files, workingDir, variables, name } = await locateProject(options, warnings);

  const unset = new Set<string>();
  const parse = async (file: string, lookup: (name: string) => string | undefined): Promise<TreeNode[]> => {
    const text = await reader.read(file);
    const documents = parseYaml(text, file === '-' ? 'stdin' : file).filter(
      (tree) => !(tree.kind === 'scalar' && tree.value === null),
    );
    if (options.interpolate === false) return [...documents];
    return documents.map((tree) => interpolateTree(tree, lookup, (name) => unset.add(name)));
  };
  const lookup = (variable: string): string | undefined =>
    variable === 'COMPOSE_PROJECT_NAME' ? name : variables(variable);

  let root: TreeNode | undefined;
  for (const file of files) {
    for (const tree of await parse(file, lookup)) {
      const own = await resolveExtends(tree, async (path, from) => {
        const target = resolve(dirname(from.where.file), path);
        const [other] = await parse(target, lookup).catch((cause: unknown) => {
          throw new TsswarmError('INVALID_COMPOSE', `extending from "${path}": the file cannot be read`, {
            where: from.where,
            cause,
          });
        });
        return absolutePaths(other ?? { kind: 'map', entries: new Map(), where: from.where }, dirname(target));
      });
      root = root === undefined ? settleTags(own) : mergeTrees(root, own);
    }
  }
  if (root === undefined) {
    throw new TsswarmError('INVALID_COMPOSE', 'reading the compose file: it is empty', {
      where: { file: files[0] ?? 'compose.yaml', line: 1, column: 1 },
      hint: 'it has at least a "services:" map',
    });
  }
  await validateTree(root);
  if (root.kind === 'map' && root.entries.has('version')) {
    warnings.push(`${files[0] ?? ''}: the attribute "version" is obsolete, it is ignored; please remove it`);
  }
  for (const variable of unset) warnings.push(`the "${variable}" variable is not set, defaulting to a blank string`);
  const project = readProject(root, {
    name,
    workingDir,
    home: options.environment['HOME'],
    files: files.map((file) => (file === '-' ? file : resolve(options.currentDir, file))),
    lookup,
    envFiles: await readEnvFiles(root, reader, workingDir, lookup),
    profiles: [...options.profiles, ...(variables('COMPOSE_PROFILES')?.split(',').filter(Boolean) ?? [])],
    named: options.services,
  });
  return { project, warnings };
}

/** The env files of every service, later ones over earlier ones. */
async function readEnvFiles(
  root: TreeNode,
  reader: FileReader,
  workingDir: string,
  lookup: (name: string) => string | undefined,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const result = new Map<string, ReadonlyMap<string, string>>();
  const services = new Reader(root, ['services']);
  for (const name of services.keys()) {
    const service = services.at(name);
    const values = new Map<string, string>();
    const raw = service.raw('env_file');
    const list = typeof raw === 'string' ? [undefined] : service.at('env_file').items();
    for (const [index, item] of list.entries()) {
      const isMap = item !== undefined && typeof item.value === 'object';
      const path = isMap ? item.text('path') : item === undefined ? String(raw) : service.at('env_file').text(index);
      if (path === undefined) continue;
      const file = resolve(workingDir, path);
      if (!(await reader.exists(file))) {
        if (isMap && item.bool('required') === false) continue;
        service.refuse('env_file', `names "${path}": no such file (looked for ${file})`);
      }
      const text = await reader.read(file);
      const parsed =
        isMap && item.text('format') === 'raw'
          ? parseRaw(text)
          : parseEnvFile(text, file, (key) => lookup(key) ?? values.get(key));
      for (const [key, value] of parsed) values.set(key, value);
    }
    result.set(name, values);
  }
  return result;
}

/** `format: raw`: lines of KEY=value, nothing else means anything (docker run --env-file). */
function parseRaw(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const split = line.indexOf('=');
    if (split > 0 && !line.startsWith('#')) values.set(line.slice(0, split), line.slice(split + 1));
  }
  return values;
}

/** Relative paths of a file that services are extended from start at that file's own directory. */
function absolutePaths(root: TreeNode, directory: string): TreeNode {
  const rewrite = (node: TreeNode, path: readonly string[]): TreeNode => {
    if (node.kind === 'map') {
      const entries = new Map<string, MapEntry>();
      for (const [key, entry] of node.entries)
        entries.set(key, { ...entry, node: rewrite(entry.node, [...path, key]) });
      return { ...node, entries };
    }
    if (node.kind === 'list') return { ...node, items: node.items.map((item) => rewrite(item, [...path, '*'])) };
    if (typeof node.value !== 'string') return node;
    const place = path.slice(2).join('.');
    if (['build', 'build.context', 'env_file', 'env_file.*', 'env_file.*.path'].includes(place))
      return { ...node, value: resolve(directory, node.value) };
    if (place === 'volumes.*' && /^\.{1,2}(\/|:|$)/.test(node.value)) {
      const [source = '', ...rest] = node.value.split(':');
      return { ...node, value: [resolve(directory, source), ...rest].join(':') };
    }
    return place === 'volumes.*.source' && /^\.{1,2}(\/|$)/.test(node.value)
      ? { ...node, value: resolve(directory, node.value) }
      : node;
  };
  return rewrite(root, []);
}

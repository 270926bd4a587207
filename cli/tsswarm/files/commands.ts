import { readFile } from 'node:fs/promises';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Config, FileKind, Project, Secret } from '../../../proto/types/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderList, renderObjects } from '../../render/format.ts';
import type { Column } from '../../render/format.ts';
import { durationWords } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { hasLabel, readFilters, some } from '../nodes/filters.ts';
import { withNode } from '../nodes/with-node.ts';
import { byName } from '../nodes/words.ts';
import { pair } from '../services/flags/values.ts';

type StoredFile = Secret | Config;

/** `tsswarm secret create` and `config create`: prints the id. "-", or nothing: standard input. */
export async function createFile(
  place: NodePlace,
  kind: FileKind,
  name: string,
  file: string | undefined,
  { label = [], templateDriver }: { readonly label?: readonly string[]; readonly templateDriver?: string },
  terminal: Terminal,
): Promise<void> {
  const data = file === undefined || file === '-' ? await readInput() : await readWhole(kind, file);
  const labels = Object.fromEntries(label.map((text) => pair('--label', text)));
  const spec = {
    name,
    composeName: name,
    labels,
    data,
    // Another word is refused there, with the one that is known.
    ...(templateDriver === undefined ? {} : { templateDriver: templateDriver as 'golang' }),
  };
  await withNode(place, async (node) => {
    terminal.out(`${(await node.control.createFile({ kind, spec })).id}\n`);
  });
}

async function readWhole(kind: FileKind, file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file));
  } catch (cause) {
    throw new TsswarmError('NOT_FOUND', `reading the ${kind} from "${file}": ${messageOf(cause)}`, { cause });
  }
}

async function readInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return new Uint8Array(Buffer.concat(chunks));
}

export interface FileListOptions {
  readonly quiet?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
}

const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'ID' },
  { name: 'Name', heading: 'NAME' },
  { name: 'Stack', heading: 'STACK' },
  { name: 'CreatedAt', heading: 'CREATED' },
  { name: 'UpdatedAt', heading: 'UPDATED' },
  { name: 'Labels', heading: 'LABELS', hidden: true },
];

/** `tsswarm secret ls` and `config ls`: those of stacks too. */
export function listFiles(
  place: NodePlace,
  kind: FileKind,
  options: FileListOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const [{ files }, { projects }] = await Promise.all([
      node.control.listFiles({ kind }),
      node.control.listObjects({ project: '' }),
    ]);
    terminal.out(renderFiles(files, projects, Date.now(), options));
  });
}

/** As `docker secret ls`. @param now wall time, ms */
export function renderFiles(
  files: readonly StoredFile[],
  projects: readonly Project[],
  now: number,
  { quiet, filter = [], format }: FileListOptions,
): string {
  const filters = readFilters(filter, ['id', 'label', 'name']);
  const shown = files
    .filter(
      ({ id, spec }) =>
        some(filters, 'id', (value) => id.startsWith(value)) &&
        some(filters, 'name', (value) => spec.name.startsWith(value)) &&
        (filters.get('label') ?? []).every((label) => hasLabel(spec.labels, label)),
    )
    .sort((a, b) => byName(a.spec.name, b.spec.name));
  if (quiet === true && format === undefined) return shown.map(({ id }) => `${id}\n`).join('');
  const ago = (at: number): string => `${durationWords(Math.max(0, now - at))} ago`;
  const rows = shown.map(({ id, spec, meta, projectId }) => ({
    ID: id,
    Name: spec.name,
    Stack: projects.find((project) => project.id === projectId)?.name ?? '',
    CreatedAt: ago(meta.createdAt),
    UpdatedAt: ago(meta.updatedAt),
    Labels: Object.entries(spec.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
  }));
  return renderList(format, COLUMNS, rows);
}

/** `tsswarm secret inspect` and `config inspect`, in Docker's shape: a secret without its bytes. */
export function inspectFiles(
  place: NodePlace,
  kind: FileKind,
  names: readonly string[],
  { format }: { readonly format?: string },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { files } = await node.control.listFiles({ kind });
    const found = names.map((name) => pickFile(kind, files, name));
    const shown = found.map(({ id, meta, spec }) => ({
      ID: id,
      Version: { Index: meta.version },
      CreatedAt: new Date(meta.createdAt).toISOString(),
      UpdatedAt: new Date(meta.updatedAt).toISOString(),
      Spec: {
        Name: spec.name,
        Labels: new Map(Object.entries(spec.labels)),
        ...(kind === 'config' ? { Data: Buffer.from(spec.data).toString('base64') } : {}),
        ...(spec.templateDriver === undefined ? {} : { Templating: { Name: spec.templateDriver } }),
      },
    }));
    terminal.out(renderObjects(format, shown));
  });
}

/** `tsswarm secret rm` and `config rm`: prints the names; those that cannot be removed do not keep the others. */
export function removeFiles(
  place: NodePlace,
  kind: FileKind,
  names: readonly string[],
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { files } = await node.control.listFiles({ kind });
    let failed = false;
    for (const name of names) {
      try {
        await node.control.removeFile({ kind, id: pickFile(kind, files, name).id });
        terminal.out(`${name}\n`);
      } catch (error) {
        failed = true;
        terminal.err(`${terminal.errStyle('red', 'error:')} ${messageOf(error)}\n`);
      }
    }
    if (failed) throw new ExitCode(1);
  });
}

/** The one that a user means: by id, name, or the beginning of an id; in Docker's words. @throws NOT_FOUND, CONFLICT */
export function pickFile(kind: FileKind, files: readonly StoredFile[], name: string): StoredFile {
  const exact = files.find(({ id }) => id === name) ?? files.find(({ spec }) => spec.name === name);
  const found = exact !== undefined ? [exact] : name === '' ? [] : files.filter(({ id }) => id.startsWith(name));
  const [only] = found;
  if (only === undefined)
    throw new TsswarmError('NOT_FOUND', `no such ${kind}: ${name}`, { hint: `see tsswarm ${kind} ls` });
  if (found.length === 1) return only;
  throw new TsswarmError('CONFLICT', `${kind} ${name} is ambiguous (${found.length} matches found)`);
}

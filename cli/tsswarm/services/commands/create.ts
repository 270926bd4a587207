import { readFile } from 'node:fs/promises';
import { TsswarmError, messageOf } from '../../../../base/errors.ts';
import { newId } from '../../../../base/ids.ts';
import type { ServiceId } from '../../../../base/ids.ts';
import { systemRandom } from '../../../../base/random.ts';
import { parseEnvFile } from '../../../../compose/template/env-file.ts';
import { authorOf } from '../../../local-node/author.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { environmentWords } from '../../../tscompose/containers/environment.ts';
import { withNode } from '../../nodes/with-node.ts';
import { createdLists } from '../flags/options.ts';
import type { ListFlags } from '../flags/options.ts';
import { createdSpec } from '../flags/spec.ts';
import type { CreateFlags } from '../flags/spec.ts';
import { followService } from '../follow.ts';

export interface CreateOptions extends CreateFlags {
  readonly name?: string;
  readonly envFile?: readonly string[];
  readonly detach?: boolean;
  readonly quiet?: boolean;
}

/** `tsswarm service create`: prints the id, and waits until the service runs. */
export async function createService(
  place: NodePlace,
  image: string,
  argv: readonly string[],
  options: CreateOptions,
  terminal: Terminal,
): Promise<void> {
  const name = options.name ?? `service-${newId<ServiceId>(systemRandom).slice(0, 8)}`;
  const lists = await withEnvironment(createdLists({ ...options }), options.envFile ?? []);
  const spec = createdSpec(name, image, argv, options, lists);
  await withNode(place, async (node) => {
    const author = authorOf('tsswarm service create');
    const { serviceId, warnings } = await node.control.createService({ spec, author });
    for (const warning of warnings) terminal.err(`${terminal.errStyle('yellow', 'warning:')} ${warning}\n`);
    terminal.out(`${serviceId}\n`);
    if (options.detach === true) return;
    const [service] = (await node.control.listObjects({ project: '', serviceId })).services;
    if (service === undefined) return;
    await followService(node, service, { rollback: false }, 'creating', terminal, options.quiet === true);
  });
}

/** Variables of files under those of `--env`; a name alone takes the value that it has here. */
async function withEnvironment(lists: ListFlags, files: readonly string[]): Promise<ListFlags> {
  const fromFiles: string[] = [];
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw new TsswarmError('NOT_FOUND', `reading the env file "${file}": ${messageOf(cause)}`, { cause });
    });
    for (const [key, value] of parseEnvFile(text, file, (name) => process.env[name])) fromFiles.push(`${key}=${value}`);
  }
  return { ...lists, env: { add: [...fromFiles, ...environmentWords(lists.env?.add ?? [], process.env)] } };
}

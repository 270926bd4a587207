import { isTsswarmError } from '../../../base/errors.ts';
import type { Network } from '../../../proto/types/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { renderFailure } from '../../render/failure.ts';
import { renderObjects } from '../../render/format.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { withNode } from '../nodes/with-node.ts';
import { networkSpecOf } from './flags.ts';
import type { CreateFlags } from './flags.ts';
import { inspectedNetwork } from './inspect.ts';
import { prunable, renderNetworks } from './list.ts';
import type { NetworkListOptions } from './list.ts';
import { pickNetwork } from './uses.ts';

/** `tsswarm network create`: prints the id. */
export async function createNetwork(
  place: NodePlace,
  name: string,
  flags: CreateFlags,
  terminal: Terminal,
): Promise<void> {
  const spec = networkSpecOf(name, flags);
  await withNode(place, async (node) => {
    terminal.out(`${(await node.control.createNetwork({ spec })).id}\n`);
  });
}

/** `tsswarm network ls`: those of projects, too. */
export function listNetworks(place: NodePlace, options: NetworkListOptions, terminal: Terminal): Promise<void> {
  return withNode(place, async (node) => {
    const { networks, projects, ...users } = await objects(node);
    const projectName = (id: string): string => projects.find((project) => project.id === id)?.name ?? '';
    terminal.out(renderNetworks(networks, users, projectName, options));
  });
}

/** `tsswarm network inspect`. Those that are not there do not keep the others. */
export function inspectNetworks(
  place: NodePlace,
  names: readonly string[],
  { format, verbose }: { readonly format?: string; readonly verbose?: boolean },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const [{ networks, ...users }, nodes] = await Promise.all([
      objects(node),
      verbose === true ? node.control.listNodes({}).then((answer) => answer.nodes) : undefined,
    ]);
    const found: Network[] = [];
    const failed = await report(terminal, names, (name) => void found.push(pickNetwork(networks, name)));
    terminal.out(
      renderObjects(
        format,
        found.map((network) => inspectedNetwork(network, users, nodes)),
      ),
    );
    if (failed) throw new ExitCode(1);
  });
}

/** `tsswarm network rm`: prints the names; those that cannot be removed do not keep the others. */
export function removeNetworks(
  place: NodePlace,
  names: readonly string[],
  { force }: { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { networks } = await objects(node);
    const failed = await report(terminal, names, async (name) => {
      try {
        await node.control.removeNetwork({ id: pickNetwork(networks, name).id });
      } catch (error) {
        if (force !== true || !isTsswarmError(error, 'NOT_FOUND')) throw error;
      }
      terminal.out(`${name}\n`);
    });
    if (failed) throw new ExitCode(1);
  });
}

/** `tsswarm network prune`, in Docker's words. Whoever cannot be asked has to say `--force`. */
export function pruneNetworks(
  place: NodePlace,
  { force, filter = [] }: { readonly force?: boolean; readonly filter?: readonly string[] },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { networks, ...users } = await objects(node);
    const idle = prunable(networks, users, filter, Date.now());
    if (force !== true) {
      terminal.err('WARNING! This will remove all networks that neither a service nor a container uses.\n');
      if (!(await terminal.confirm('Are you sure you want to continue?', false))) return;
    }
    const removed: string[] = [];
    const failed = await report(terminal, idle, async ({ id, spec }) => {
      try {
        await node.control.removeNetwork({ id });
        removed.push(spec.name);
      } catch (error) {
        // Used or removed by somebody meanwhile.
        if (!isTsswarmError(error, 'IN_USE') && !isTsswarmError(error, 'NOT_FOUND')) throw error;
      }
    });
    if (removed.length > 0) terminal.out(`Deleted Networks:\n${removed.map((name) => `${name}\n`).join('')}\n`);
    if (failed) throw new ExitCode(1);
  });
}

/** All that is there, without networks that are just going. */
async function objects(node: NodeClient) {
  const all = await node.control.listObjects({ project: '' });
  return { ...all, networks: all.networks.filter(({ pendingDelete }) => !pendingDelete) };
}

/** Does something for each, and says what went wrong. @returns whether something did */
async function report<T>(
  { err, errStyle }: Terminal,
  items: readonly T[],
  work: (item: T) => Promise<void> | void,
): Promise<boolean> {
  let failed = false;
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      failed = true;
      err(renderFailure(error, errStyle, process.cwd()));
    }
  }
  return failed;
}

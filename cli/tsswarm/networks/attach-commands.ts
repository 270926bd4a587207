import { authorOf } from '../../local-node/author.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderEffects } from '../../tscompose/progress/dry-run.ts';
import type { ServiceSpec } from '../../../proto/types/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { withNode } from '../nodes/with-node.ts';
import { changeService, follow } from '../services/commands/update.ts';
import type { FollowOptions } from '../services/commands/update.ts';
import { attachmentOf, connected, disconnected, pickAttachable } from './attach.ts';
import type { ConnectFlags } from './attach.ts';
import { pickNetwork } from './uses.ts';

/** The network of services that name none: it is made when the first of them is. */
const DEFAULT_NETWORK = 'bridge';

interface AttachOptions extends FollowOptions {
  readonly dryRun?: boolean;
}

/** `tsswarm network connect`: prints nothing but how far it is, and waits until the service is on the network. */
export function connectNetwork(
  place: NodePlace,
  network: string,
  name: string,
  options: ConnectFlags & AttachOptions,
  terminal: Terminal,
): Promise<void> {
  const attachment = attachmentOf(network, options);
  const change = (spec: ServiceSpec, found: string): ServiceSpec => connected(spec, { ...attachment, network: found });
  return changeNetworks(place, network, name, { change, options, verb: 'connect' }, terminal);
}

/** `tsswarm network disconnect`: the same for the way back. */
export function disconnectNetwork(
  place: NodePlace,
  network: string,
  name: string,
  options: AttachOptions & { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  const change = (spec: ServiceSpec, found: string): ServiceSpec => {
    const isOn = spec.task.networks.some((one) => one.network === found);
    return options.force === true && !isOn ? spec : disconnected(spec, found);
  };
  return changeNetworks(place, network, name, { change, options, verb: 'disconnect' }, terminal);
}

function changeNetworks(
  place: NodePlace,
  network: string,
  name: string,
  wish: {
    readonly change: (spec: ServiceSpec, network: string) => ServiceSpec;
    readonly options: AttachOptions;
    readonly verb: 'connect' | 'disconnect';
  },
  terminal: Terminal,
): Promise<void> {
  const { change, options, verb } = wish;
  const author = authorOf(`tsswarm network ${verb}`);
  return withNode(place, async (node) => {
    const { networks, services, tasks, projects } = await node.control.listObjects({ project: '' });
    const present = networks.filter(({ pendingDelete }) => !pendingDelete);
    const found = network === DEFAULT_NETWORK ? network : pickNetwork(present, network).spec.name;
    const service = pickAttachable(services, tasks, name);
    const changed = await changeService(node, service, (now) =>
      node.control.updateService({
        serviceId: now.id,
        version: now.meta.version,
        spec: change(now.spec, found),
        author,
        ...(options.dryRun === true ? { dryRun: true } : {}),
      }),
    );
    if (options.dryRun === true) {
      terminal.out(renderEffects(changed.answer.effects ?? []));
      return;
    }
    const project = projects.find(({ id }) => id === service.projectId);
    if (project !== undefined)
      terminal.err(
        `${terminal.errStyle('yellow', 'note:')} ${service.spec.name} is of project ${project.name}: ` +
          'the next "tscompose up" gives it the networks of its file\n',
      );
    await follow(node, changed, { options, rollback: false, doing: `${verb}ing` }, terminal);
  });
}

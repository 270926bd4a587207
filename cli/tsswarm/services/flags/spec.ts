import { CONTAINER_DEFAULTS } from '../../../../base/container-defaults.ts';
import { TsswarmError } from '../../../../base/errors.ts';
import { DEFAULT_NETWORK } from '../../../../base/network-driver.ts';
import type { NetworkAttachment, ServiceMode, ServiceSpec } from '../../../../proto/types/index.ts';
import { withLists } from './lists.ts';
import type { ListFlags, ScalarFlags } from './options.ts';
import { withScalars } from './scalars.ts';
import { commandWords, word } from './values.ts';

const MODES: readonly ServiceMode[] = ['replicated', 'global', 'replicated-job', 'global-job'];
/** As Docker Swarm. */
const RESTART_DELAY_MS = 5000;
const LONGEST_RESTART_DELAY_MS = 60_000;
/** Where a service is that names no network. */
const DEFAULT_ATTACHMENT: NetworkAttachment = { network: DEFAULT_NETWORK, aliases: [], ipv4Address: '' };

export interface CreateFlags extends ScalarFlags {
  readonly mode?: string;
}

export interface UpdateFlags extends ScalarFlags {
  readonly args?: string;
  readonly image?: string;
  readonly force?: boolean;
}

/** The spec of a new service, with Docker Swarm's defaults. @throws INVALID_INPUT, NOT_SUPPORTED */
export function createdSpec(
  name: string,
  image: string,
  argv: readonly string[],
  flags: CreateFlags,
  lists: ListFlags,
): ServiceSpec {
  const mode = word('--mode', flags.mode ?? 'replicated', MODES);
  const base = baseSpec(name, image, argv, mode);
  const spec = withScalars(withLists(base, lists, ''), flags);
  const hasNetwork = spec.task.networkMode !== 'networks' || spec.task.networks.length > 0;
  return hasNetwork ? spec : { ...spec, task: { ...spec.task, networks: [DEFAULT_ATTACHMENT] } };
}

/** A spec as `update` changes it. @throws INVALID_INPUT, NOT_SUPPORTED */
export function updatedSpec(before: ServiceSpec, flags: UpdateFlags, lists: ListFlags): ServiceSpec {
  const spec = withScalars(withLists(before, lists, '-add'), flags);
  const { command: known, ...container } = spec.task.container;
  const { args, image, force } = flags;
  if (image === '') throw new TsswarmError('INVALID_INPUT', 'using --image "": expected the name of an image');
  const argv = args === undefined ? undefined : commandWords('--args', args);
  const command = argv === undefined ? known : argv.length === 0 ? undefined : { args: argv };
  return {
    ...spec,
    task: {
      ...spec.task,
      container: {
        ...container,
        ...(command === undefined ? {} : { command }),
        image: image ?? container.image,
      },
      forceUpdate: spec.task.forceUpdate + (force === true ? 1 : 0),
    },
  };
}

function baseSpec(name: string, image: string, argv: readonly string[], mode: ServiceMode): ServiceSpec {
  const isJob = mode.endsWith('-job');
  return {
    name,
    composeName: name,
    labels: {},
    replicas: 1,
    task: {
      container: {
        ...CONTAINER_DEFAULTS,
        image,
        ...(argv.length === 0 ? {} : { command: { args: argv } }),
      },
      limits: {},
      reservations: {},
      restart: {
        condition: isJob ? 'on-failure' : 'any',
        delayMs: RESTART_DELAY_MS,
        maxDelayMs: LONGEST_RESTART_DELAY_MS,
        maxAttempts: 0,
        windowMs: 0,
      },
      networkMode: 'networks',
      networks: [],
      log: { driver: 'json-file', options: {} },
      constraints: [],
      forceUpdate: 0,
    },
    ports: [],
    dependsOn: [],
    update: { parallelism: isJob ? 0 : 1, delayMs: 0, order: 'stop-first' },
    containerName: '',
    ...(mode === 'replicated' ? {} : { mode }),
  };
}

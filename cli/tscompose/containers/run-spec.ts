import { resolve } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import type { Mount, PortProtocol, PublishedPort, TaskSpec } from '../../../proto/types/index.ts';

/** What `run` changes of a service's container. */
export interface RunOverrides {
  /** Empty: the service's command. */
  readonly argv: readonly string[];
  /** Replaces the entrypoint; the service's command goes with it. */
  readonly entrypoint?: readonly string[];
  readonly env: readonly string[];
  readonly user: string | undefined;
  readonly workingDir: string | undefined;
  readonly volumes: readonly string[];
  /** NAME=value each. */
  readonly labels: readonly string[];
  readonly tty: boolean;
  readonly openStdin: boolean;
}

/** The task of a one-off container: the service's, with the overrides, never restarted. */
export function runSpec(spec: TaskSpec, overrides: RunOverrides, currentDir: string): TaskSpec {
  const { argv, entrypoint, env, user, workingDir, volumes, labels } = overrides;
  const { command: ownCommand, entrypoint: ownEntrypoint, ...container } = spec.container;
  const command = argv.length > 0 ? { args: argv } : entrypoint === undefined ? ownCommand : undefined;
  const starts = entrypoint === undefined ? ownEntrypoint : { args: entrypoint };
  const names = new Set(env.map((word) => word.split('=', 1)[0]));
  const mounts = volumes.map((text) => parseMount(text, currentDir));
  const targets = new Set(mounts.map(({ target }) => target));
  return {
    ...spec,
    restart: { ...spec.restart, condition: 'none' },
    // Aliases belong to the service's own containers; a fixed address can be had once.
    networks: spec.networks.map(({ network }) => ({ network, aliases: [], ipv4Address: '' })),
    container: {
      ...container,
      ...(command === undefined ? {} : { command }),
      ...(starts === undefined ? {} : { entrypoint: starts }),
      env: [...container.env.filter((word) => !names.has(word.split('=', 1)[0])), ...env],
      user: user ?? container.user,
      workingDir: workingDir ?? container.workingDir,
      mounts: [...container.mounts.filter(({ target }) => !targets.has(target)), ...mounts],
      labels: { ...container.labels, ...Object.fromEntries(labels.map(parseLabel)) },
      tty: overrides.tty,
      openStdin: overrides.openStdin,
      // They are about the service, not about a command that is run beside it.
      postStart: [],
      preStop: [],
    },
  };
}

function parseLabel(text: string): readonly [string, string] {
  const split = text.indexOf('=');
  return split < 0 ? [text, ''] : [text.slice(0, split), text.slice(split + 1)];
}

/** `-v source:target[:ro]`: a path for a bind mount, a name for a volume. @throws INVALID_INPUT, NOT_SUPPORTED */
export function parseMount(text: string, currentDir: string): Mount {
  const parts = text.split(':');
  const [first = '', second, options = ''] = parts;
  const refuse = (why: string): never => {
    throw new TsswarmError('INVALID_INPUT', `using -v "${text}": ${why}`);
  };
  if (parts.length > 3) refuse('expected SOURCE:TARGET[:ro]');
  const target = second ?? first;
  if (!target.startsWith('/')) refuse(`the path in the container is "${target}", expected an absolute one`);
  const words = options.split(',').filter((word) => word !== '' && word !== 'rw');
  const unknown = words.find((word) => word !== 'ro');
  if (unknown !== undefined) {
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `using -v "${text}": the option "${unknown}" is not supported, only ro and rw`,
    );
  }
  const readOnly = words.includes('ro');
  if (second !== undefined && /^[./~]/.test(first)) {
    return {
      type: 'bind',
      source: first.startsWith('~')
        ? resolve(process.env['HOME'] ?? '/root', `.${first.slice(1)}`)
        : resolve(currentDir, first),
      target,
      readOnly,
      propagation: 'rprivate',
      createHostPath: true,
    };
  }
  return {
    type: 'volume',
    source: second === undefined ? '' : first,
    target,
    readOnly,
    noCopy: false,
    subpath: '',
    driver: 'local',
    driverOptions: {},
    labels: {},
  };
}

/** `-p [ip:][published:]target[/protocol]`; of a range of published ports one is chosen. @throws INVALID_INPUT */
export function parsePort(text: string): PublishedPort {
  const match = /^(?:(?:(\[[0-9a-f:]+\]|[0-9.]+):)?(?:(\d+)(?:-(\d+))?)?:)?(\d+)(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const published = Number(match?.[2] || 0);
  const end = Number(match?.[3] ?? published);
  const target = Number(match?.[4] ?? 0);
  if (match === null || target < 1 || target > 65535 || end < published || end > 65535) {
    throw new TsswarmError('INVALID_INPUT', `using -p "${text}": expected [IP:][PORT:]CONTAINER_PORT[/PROTOCOL]`);
  }
  return {
    target,
    published,
    ...(end > published ? { publishedEnd: end } : {}),
    protocol: (match[5]?.toLowerCase() ?? 'tcp') as PortProtocol,
    mode: 'host',
    hostIp: match[1]?.replace(/[[\]]/g, '') ?? '',
  };
}

import { numberWords } from '../../../../base/published-port.ts';
import { parseGenericResources } from '../../../../base/generic-resource.ts';
import type { NodeResource } from '../../../../base/generic-resource.ts';
import type { ContainerSpec, NetworkAttachment, ServiceSpec, TaskSpec, Ulimit } from '../../../../proto/types/index.ts';
import { parseFileFlag } from './file.ts';
import { parseMountFlag } from './mount.ts';
import { parseNetworkFlag } from './network.ts';
import { LISTS } from './options.ts';
import type { ListFlags, ListName } from './options.ts';
import { parsePublish, parseTargetPort } from './publish.ts';
import { count, pair, refuseValue } from './values.ts';

/** Names of networks that are none: what they stand for instead. */
const NETWORK_MODES = { host: 'host', none: 'none' } as const;

/**
 * A spec with lists changed: what is taken away first, then what is added in place of what is there under the same key.
 * @param suffix "" when the flags are those of `create`, "-add" for `update`: for messages
 * @throws INVALID_INPUT, NOT_SUPPORTED
 */
export function withLists(spec: ServiceSpec, flags: ListFlags, suffix: '' | '-add'): ServiceSpec {
  const added = (name: ListName): readonly string[] => flags[name]?.add ?? [];
  const removed = (name: ListName): readonly string[] => flags[name]?.rm ?? [];
  const flag = (name: ListName): string =>
    `--${LISTS[name][0]}${name === 'capAdd' || name === 'capDrop' ? '' : suffix}`;
  const rm = (name: ListName): string => `--${LISTS[name][0]}-rm`;
  /** Entries of which the key is all that counts. */
  const words = (name: ListName, before: readonly string[]): readonly string[] =>
    merged(before, added(name), removed(name), (one) => one);
  const map = (name: ListName, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
    const kept = Object.entries(before).filter(([key]) => !removed(name).includes(key));
    return Object.fromEntries([...kept, ...added(name).map((text) => pair(flag(name), text))]);
  };
  const { container } = spec.task;
  const next: ContainerSpec = {
    ...container,
    ...capabilities(container, added('capAdd'), added('capDrop')),
    configs: merged(
      container.configs,
      added('config').map((text) => parseFileFlag('config', flag('config'), text)),
      removed('config'),
      ({ name }) => name,
    ),
    secrets: merged(
      container.secrets,
      added('secret').map((text) => parseFileFlag('secret', flag('secret'), text)),
      removed('secret'),
      ({ name }) => name,
    ),
    labels: map('containerLabel', container.labels),
    dns: words('dns', container.dns),
    dnsOptions: words('dnsOption', container.dnsOptions),
    dnsSearch: words('dnsSearch', container.dnsSearch),
    env: merged(container.env, added('env'), removed('env'), (one) => one.split('=', 1)[0] ?? ''),
    groups: words('group', container.groups),
    extraHosts: hosts(container.extraHosts, added('host'), removed('host'), flag('host')),
    mounts: merged(
      container.mounts,
      added('mount').map((text) => parseMountFlag(flag('mount'), text)),
      removed('mount'),
      ({ target }) => target,
    ),
    sysctls: map('sysctl', container.sysctls),
    ulimits: merged(
      container.ulimits,
      added('ulimit').map((text) => parseUlimit(flag('ulimit'), text)),
      removed('ulimit'),
      ({ name }) => name,
    ),
  };
  const away = removed('publish').map((text) => parseTargetPort(rm('publish'), text));
  const published = spec.ports.filter(
    (port) => !away.some(({ target, protocol }) => target === port.target && protocol === port.protocol),
  );
  return {
    ...spec,
    labels: map('label', spec.labels),
    ports: merged(
      published,
      added('publish').flatMap((text) => parsePublish(flag('publish'), text)),
      [],
      (port) => `${port.target}/${port.protocol}/${numberWords(port)}/${port.hostIp}`,
    ),
    task: withPlacement(
      {
        ...spec.task,
        reservations: reservations(
          spec.task,
          added('genericResource'),
          removed('genericResource'),
          flag('genericResource'),
        ),
        ...networks(spec.task, added('network'), removed('network'), flag('network')),
        container: next,
      },
      words('constraint', spec.task.constraints),
      added('placementPref').map((text) => spreadOf(flag('placementPref'), text)),
      removed('placementPref').map((text) => spreadOf(rm('placementPref'), text)),
    ),
  };
}

/** What is there without what is taken away, then what is added; one that is added replaces the one with its key. */
function merged<T>(
  before: readonly T[],
  added: readonly T[],
  removed: readonly string[],
  keyOf: (one: T) => string,
): readonly T[] {
  const fresh = new Map(added.map((one) => [keyOf(one), one]));
  const kept = before.filter((one) => !removed.includes(keyOf(one)));
  const replaced = kept.map((one) => fresh.get(keyOf(one)) ?? one);
  const known = new Set(kept.map(keyOf));
  return [...replaced, ...[...fresh].filter(([key]) => !known.has(key)).map(([, one]) => one)];
}

/** A capability that is added is no longer dropped, and the other way round. */
function capabilities(
  { capAdd, capDrop }: ContainerSpec,
  add: readonly string[],
  drop: readonly string[],
): Pick<ContainerSpec, 'capAdd' | 'capDrop'> {
  const bare = (name: string): string => name.toUpperCase().replace(/^CAP_/, '');
  const without = (list: readonly string[], others: readonly string[]): readonly string[] =>
    list.filter((name) => !others.some((other) => bare(other) === bare(name)));
  return {
    capAdd: [...without(without(capAdd, drop), add), ...add],
    capDrop: [...without(without(capDrop, add), drop), ...drop],
  };
}

/** "name:address" as "name=address"; taken away by either or both. */
function hosts(
  before: readonly string[],
  added: readonly string[],
  removed: readonly string[],
  flag: string,
): readonly string[] {
  const words = added.map((text) => {
    const [, name, address] = /^([^:=]+)[:=](.+)$/.exec(text) ?? [];
    return name === undefined || address === undefined
      ? refuseValue(flag, text, 'expected <name>:<address>')
      : `${name}=${address}`;
  });
  const isAway = (word: string): boolean =>
    removed.some((text) => text.replace(/[:=]/, '=') === word || text === word.split('=', 1)[0]);
  return [...new Set([...before.filter((word) => !isAway(word)), ...words])];
}

/** "gpu=2", or named ones: "gpu=UUID1,UUID2"; taken away by their kind. */
function reservations(
  { reservations: before }: TaskSpec,
  added: readonly string[],
  removed: readonly string[],
  flag: string,
): TaskSpec['reservations'] {
  if (added.length + removed.length === 0) return before;
  const parsed = parseGenericResources(added);
  if (isFault(parsed)) return refuseValue(flag, parsed[0], parsed[1]);
  const fresh = parsed.map(({ kind, count, names }) => ({ kind, count, names }));
  const { generic = [], ...rest } = before;
  const next = merged(generic, fresh, removed, ({ kind }) => kind);
  return next.length === 0 ? rest : { ...rest, generic: next };
}

const isFault = (parsed: readonly NodeResource[] | readonly [string, string]): parsed is readonly [string, string] =>
  typeof parsed[0] === 'string';

/** "nofile=1024:2048", "nproc=100". @throws INVALID_INPUT */
function parseUlimit(flag: string, text: string): Ulimit {
  const [name, value] = pair(flag, text);
  const [soft = '', hard = soft, ...more] = value.split(':');
  if (more.length > 0 || value === '') refuseValue(flag, text, 'expected <name>=<soft>[:<hard>]');
  const limit = { name, soft: count(flag, soft, -1), hard: count(flag, hard, -1) };
  const isMore = limit.hard !== -1 && (limit.soft === -1 || limit.soft > limit.hard);
  return isMore ? refuseValue(flag, text, 'the soft limit is above the hard one') : limit;
}

function spreadOf(flag: string, text: string): string {
  const [strategy, label] = pair(flag, text);
  return strategy === 'spread' && label !== '' ? label : refuseValue(flag, text, 'expected spread=node.labels.<key>');
}

function withPlacement(
  task: TaskSpec,
  constraints: readonly string[],
  added: readonly string[],
  removed: readonly string[],
): TaskSpec {
  const { placement, ...rest } = task;
  const spread = merged(placement?.spread ?? [], added, removed, (one) => one);
  const maxReplicasPerNode = placement?.maxReplicasPerNode ?? 0;
  const isPlain = spread.length === 0 && maxReplicasPerNode === 0;
  return { ...rest, constraints, ...(isPlain ? {} : { placement: { spread, maxReplicasPerNode } }) };
}

function networks(
  { networks: before, networkMode }: TaskSpec,
  added: readonly string[],
  removed: readonly string[],
  flag: string,
): Pick<TaskSpec, 'networks' | 'networkMode'> {
  if (added.length + removed.length === 0) return { networks: before, networkMode };
  const isMode = (text: string): text is keyof typeof NETWORK_MODES => Object.hasOwn(NETWORK_MODES, text);
  const mode = added.find(isMode);
  if (mode !== undefined) {
    if (added.length > 1) refuseValue(flag, mode, 'it cannot be had together with other networks');
    return { networks: [], networkMode: NETWORK_MODES[mode] };
  }
  const next: readonly NetworkAttachment[] = merged(
    before,
    added.map((text) => parseNetworkFlag(flag, text)),
    removed,
    ({ network }) => network,
  );
  const keepsMode = next.length === 0 && !removed.includes(networkMode);
  return { networks: next, networkMode: keepsMode ? networkMode : 'networks' };
}

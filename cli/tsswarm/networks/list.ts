import { driverScope } from '../../../base/network-driver.ts';
import { TsswarmError } from '../../../base/errors.ts';
import type { Network } from '../../../proto/types/index.ts';
import { renderList } from '../../render/format.ts';
import type { Column } from '../../render/format.ts';
import { demandWord, hasLabel, readFilters, some } from '../nodes/filters.ts';
import { byName } from '../nodes/words.ts';
import { isUsed } from './uses.ts';
import type { NetworkUsers } from './uses.ts';

const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'NETWORK ID' },
  { name: 'Name', heading: 'NAME' },
  { name: 'Driver', heading: 'DRIVER' },
  { name: 'Scope', heading: 'SCOPE' },
  { name: 'Stack', heading: 'STACK', hidden: true },
  { name: 'IPv4', heading: 'IPV4', hidden: true },
  { name: 'IPv6', heading: 'IPV6', hidden: true },
  { name: 'Internal', heading: 'INTERNAL', hidden: true },
  { name: 'Labels', heading: 'LABELS', hidden: true },
  { name: 'CreatedAt', heading: 'CREATED AT', hidden: true },
];
const ID_COLUMNS = 12;
const KEYS = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'];

export interface NetworkListOptions {
  readonly quiet?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  /** false: whole ids. */
  readonly trunc?: boolean;
}

/** As `docker network ls`. @throws INVALID_INPUT */
export function renderNetworks(
  networks: readonly Network[],
  users: NetworkUsers,
  projectName: (id: string) => string,
  { quiet, filter = [], format, trunc = true }: NetworkListOptions,
): string {
  const shown = filterNetworks(networks, users, filter).sort((a, b) => byName(a.spec.name, b.spec.name));
  const idOf = ({ id }: Network): string => (trunc ? id.slice(0, ID_COLUMNS) : id);
  if (quiet === true && format === undefined) return shown.map((network) => `${idOf(network)}\n`).join('');
  const rows = shown.map((network) => ({
    ID: idOf(network),
    Name: network.spec.name,
    Driver: network.spec.driver,
    Scope: driverScope(network.spec.driver),
    Stack: projectName(network.projectId),
    IPv4: 'true',
    IPv6: String(network.spec.ipv6 !== undefined),
    Internal: String(network.spec.internal),
    Labels: Object.entries(network.spec.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    CreatedAt: new Date(network.meta.createdAt).toISOString(),
  }));
  return renderList(format, COLUMNS, rows);
}

function filterNetworks(networks: readonly Network[], users: NetworkUsers, texts: readonly string[]): Network[] {
  const filters = readFilters(texts, KEYS);
  demandWord(filters, 'dangling', ['true', 'false']);
  demandWord(filters, 'scope', ['local', 'swarm', 'global']);
  demandWord(filters, 'type', ['builtin', 'custom']);
  return networks.filter(
    (network) =>
      // As Docker has it: names and ids by any part of them.
      some(filters, 'id', (value) => network.id.includes(value)) &&
      some(filters, 'name', (value) => network.spec.name.includes(value)) &&
      some(filters, 'driver', (value) => network.spec.driver === value) &&
      some(filters, 'scope', (value) => driverScope(network.spec.driver) === value) &&
      some(filters, 'dangling', (value) => String(!isUsed(users, network)) === value) &&
      some(filters, 'type', (value) => (isBuiltIn(network) ? 'builtin' : 'custom') === value) &&
      (filters.get('label') ?? []).every((label) => hasLabel(network.spec.labels, label)),
  );
}

/** The one of services that name none: it is made when the first of them is. */
export const isBuiltIn = ({ projectId, spec }: Network): boolean => projectId === '' && spec.name === 'bridge';

/**
 * Networks that `prune` removes, as `docker network prune --filter` has it.
 * @param now wall time, ms
 * @throws INVALID_INPUT
 */
export function prunable(
  networks: readonly Network[],
  users: NetworkUsers,
  texts: readonly string[],
  now: number,
): readonly Network[] {
  const filters = readFilters(texts, ['label', 'label!', 'until']);
  const limits = (filters.get('until') ?? []).map((text) => momentOf(text, now));
  return networks.filter(
    (network) =>
      !isBuiltIn(network) &&
      !isUsed(users, network) &&
      limits.every((limit) => network.meta.createdAt < limit) &&
      (filters.get('label') ?? []).every((label) => hasLabel(network.spec.labels, label)) &&
      !(filters.get('label!') ?? []).some((label) => hasLabel(network.spec.labels, label)),
  );
}

const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000 };

/** "24h", "1h30m" before now, seconds since the epoch, or a date, in ms since the epoch. */
function momentOf(text: string, now: number): number {
  if (/^(\d+(\.\d+)?[hms])+$/.test(text)) {
    const parts = [...text.matchAll(/(\d+(?:\.\d+)?)([hms])/g)];
    return now - parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
  }
  if (/^\d{9,11}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const moment = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
  if (!Number.isNaN(moment)) return moment;
  throw new TsswarmError('INVALID_INPUT', `using --filter "until=${text}": expected a duration such as 24h, or a time`);
}

import { canonical } from '../../../manager/model/spec-change.ts';
import type { ProjectChange, ServiceSpec } from '../../../proto/types/index.ts';
import type { Style } from '../../render/index.ts';

/** What users call the fields of a service's spec; others are called by the last word of their path. */
const NAMES: Readonly<Record<string, string>> = {
  'task.container.env': 'environment',
  'task.container.mounts': 'volumes',
  'task.container.workingDir': 'working_dir',
  'task.container.healthCheck': 'healthcheck',
  'task.container.stopSignal': 'stop_signal',
  'task.container.stopGraceMs': 'stop_grace_period',
  'task.container.readOnly': 'read_only',
  'task.container.capAdd': 'cap_add',
  'task.container.capDrop': 'cap_drop',
  'task.container.extraHosts': 'extra_hosts',
  'task.container.labels': 'container labels',
  'task.networkMode': 'network_mode',
  'task.forceUpdate': 'forced',
  dependsOn: 'depends_on',
  containerName: 'container_name',
  update: 'update_config',
  rollback: 'rollback_config',
};
/** Labels that follow from the file and say nothing of their own. */
const DERIVED_LABELS = /^com\.docker\.compose\./;
const LONGEST_VALUE = 60;

/** Specs by compose name, before or after a change. */
export type SpecsByName = ReadonlyMap<string, ServiceSpec>;

/** "web: image nginx:1 → nginx:2, environment; +api; -old": what a change did, in one line. */
export function changeSummary(changes: readonly ProjectChange[], before: SpecsByName, after: SpecsByName): string {
  const words = changes.flatMap((change) => {
    const { kind, name, action } = change;
    const what = kind === 'service' ? name : `${kind} ${name}`;
    if (action === 'none' || action === 'orphan') return [];
    if (action === 'create') return [`+${what}`];
    if (action === 'remove') return [`-${what}`];
    const isService = kind === 'service';
    if (!isService) return [`${what}: ${change.fields.map(partOf).join(', ')}`];
    const fields = change.fields.map((path) => {
      const short = path === 'replicas' || path === 'task.container.image';
      const [old, fresh] = [valueAt(before.get(name), path), valueAt(after.get(name), path)];
      return short && old !== undefined && fresh !== undefined
        ? `${nameOf(path)} ${text(old)} → ${text(fresh)}`
        : nameOf(path);
    });
    return [fields.length === 0 ? `${what}: started again` : `${what}: ${fields.join(', ')}`];
  });
  return words.join('; ');
}

/** A change line by line: what is made, removed, and changed from what to what. */
export function changeLines(
  changes: readonly ProjectChange[],
  before: SpecsByName,
  after: SpecsByName,
  style: Style,
): readonly string[] {
  return changes.flatMap((change) => {
    const { kind, name, action } = change;
    const what = `${kind} ${name}`;
    switch (action) {
      case 'none':
        return [];
      case 'create':
        return [style('green', `+ ${what}`)];
      case 'remove':
        return [style('red', `- ${what}`)];
      case 'orphan':
        return [style('yellow', `! ${what}: not in the file, it stays (--prune, --remove-orphans remove it)`)];
      case 'update':
      case 'replace': {
        const isService = kind === 'service';
        const effect = !isService
          ? ''
          : action === 'replace'
            ? ' (its containers are replaced)'
            : ' (its containers stay)';
        const { fields } = change;
        if (isService && fields.length === 0) return [style('yellow', `~ ${what}`) + ' (started again)'];
        const lines = fields.flatMap((path) =>
          isService ? fieldLines(path, before.get(name), after.get(name), style) : [`    ${partOf(path)}`],
        );
        return [style('yellow', `~ ${what}`) + effect, ...lines];
      }
    }
  });
}

const nameOf = (path: string): string => NAMES[path] ?? path.split('.').at(-1) ?? path;

/** The value of a spec at "task.container.image". */
function valueAt(spec: ServiceSpec | undefined, path: string): unknown {
  let value: unknown = spec;
  for (const key of path.split('.')) value = (value as Readonly<Record<string, unknown>> | undefined)?.[key];
  return value;
}

function fieldLines(
  path: string,
  before: ServiceSpec | undefined,
  after: ServiceSpec | undefined,
  style: Style,
): string[] {
  const [old, fresh] = [valueAt(before, path), valueAt(after, path)];
  const name = nameOf(path);
  // "config shop_conf": a file with new contents.
  if (old === undefined && fresh === undefined) return [`    ${path}: new contents`];
  const [gone, come] = [entriesOf(old), entriesOf(fresh)];
  if (gone === undefined || come === undefined) return [`    ${name}: ${text(old)} → ${text(fresh)}`];
  const minus = gone.filter((entry) => !come.includes(entry)).map((entry) => style('red', `      - ${cut(entry)}`));
  const plus = come.filter((entry) => !gone.includes(entry)).map((entry) => style('green', `      + ${cut(entry)}`));
  return [`    ${name}:${minus.length + plus.length === 0 ? ' another order' : ''}`, ...minus, ...plus];
}

/** Entries of a list or map as texts to compare; undefined: it is none. */
function entriesOf(value: unknown): readonly string[] | undefined {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value.map((one) => (typeof one === 'string' ? one : itemText(one as Item)));
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.entries(value as Readonly<Record<string, unknown>>)
    .filter(([key, one]) => one !== undefined && !DERIVED_LABELS.test(key))
    .map(([key, one]) => `${key}=${typeof one === 'string' ? one : canonical(one)}`);
}

/** A network, volume, secret or config has no fields that people see, but its bytes. */
const partOf = (field: string): string => (field === 'data' ? 'contents' : field);

type Item = Readonly<Record<string, unknown>>;

/** An item of a list of objects, shortly where its kind is known. */
function itemText(item: Item): string {
  const word = (key: string): string => String(item[key]);
  if ('published' in item && 'target' in item) {
    const mode = item['mode'] === 'host' ? ' (host)' : '';
    const end = item['publishedEnd'] === undefined ? '' : `-${word('publishedEnd')}`;
    return `${word('published')}${end}:${word('target')}/${word('protocol')}${mode}`;
  }
  if ('condition' in item && 'service' in item) return `${word('service')} (${word('condition')})`;
  if ('network' in item) return word('network');
  if ('type' in item && 'target' in item) {
    const source = item['source'] === undefined ? word('type') : word('source');
    return `${source}:${word('target')}${item['readOnly'] === true ? ':ro' : ''}`;
  }
  if ('name' in item && 'target' in item) return `${word('name')}:${word('target')}`;
  return canonical(item);
}

const text = (value: unknown): string =>
  value === undefined || value === '' ? '(none)' : typeof value === 'string' ? value : canonical(value);

const cut = (value: string): string =>
  value.length > LONGEST_VALUE * 2 ? `${value.slice(0, LONGEST_VALUE * 2)}…` : value;

import { join } from 'node:path';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import { device, resolveDevices } from '../devices.ts';
import type { OciDeviceRule } from '../oci.ts';
import type { ContainerCalls, DeviceRule } from '../ports.ts';
import type { ContainerRecord } from '../record.ts';
import type { ResolvedDevice } from '../resources.ts';
import { resolveResources } from '../resources.ts';
import type { ContainerChange, ContainerParts } from '../parts.ts';
import type { ControlFiles } from './limits.ts';

/** A line for one of the files of version 1 (Documentation/admin-guide/cgroup-v1/devices.rst of the kernel). */
export interface RuleChange {
  readonly file: 'devices.allow' | 'devices.deny';
  /** "c 10:200 rw" */
  readonly text: string;
}

/** Where version 1 says what a container may do with devices. */
const LIST = 'devices.list';

/** What replaces the rules where they are a program. */
export type DeviceProgramCalls = Pick<ContainerCalls, 'deviceProgramTag' | 'attachedDeviceProgram'>;

/** Where a container's rights to devices are. */
export interface DeviceRights {
  readonly files: ControlFiles;
  /** Its group in version 2: that has them where no hierarchy of version 1 does; undefined: there is none. */
  readonly group: string | undefined;
  readonly calls: DeviceProgramCalls & Pick<ContainerCalls, 'attachDeviceProgram'>;
}

/** @param files those of the container's control groups */
export function deviceRights(
  { cgroups, cgroupParent, calls }: Pick<ContainerParts, 'cgroups' | 'cgroupParent' | 'calls'>,
  id: string,
  files: ControlFiles,
): DeviceRights {
  const root = cgroups.find(({ version }) => version === 2)?.path;
  return { files, calls, group: root === undefined ? undefined : join(root, cgroupParent, id) };
}

/**
 * Gives a running container the rights to devices that its record says. In version 1 those that it shall not have go first; in version 2
 * one program takes the other's place: an access is decided by all of the old rules, or by all of the new ones.
 * @throws NOT_SUPPORTED where this kernel has no rules for devices, RUNTIME_FAILED when it refuses
 */
export function setDeviceRules({ files, group, calls }: DeviceRights, record: ContainerRecord): void {
  const list = files.read(LIST);
  if (list !== undefined) {
    for (const { file, text } of ruleChanges(list, rulesOf(record))) files.write(file, text);
    return;
  }
  const failed = (code: 'NOT_SUPPORTED' | 'RUNTIME_FAILED', what: string, cause?: unknown): TsswarmError =>
    new TsswarmError(code, `changing the devices of the running container "${record.name}": ${what}`, { cause });
  if (group === undefined) throw failed('NOT_SUPPORTED', 'this kernel has no control groups for them');
  const rules = programOf(record);
  try {
    if (calls.attachedDeviceProgram(group) !== calls.deviceProgramTag(rules)) calls.attachDeviceProgram(group, rules);
  } catch (error) {
    throw failed('RUNTIME_FAILED', messageOf(error), error);
  }
}

/** Differences between the rights to devices that a container has and shall have; undefined: they cannot be read here. */
export function deviceRuleDrift(
  { files, group, calls }: DeviceRights,
  record: ContainerRecord,
): readonly { readonly key: string; readonly expected: string; readonly found: string }[] | undefined {
  const list = files.read(LIST);
  if (list === undefined) return group === undefined ? undefined : programDrift(group, calls, record);
  const [found, wanted] = [parseList(list), accessOf(rulesOf(record))];
  return [...new Set([...found.keys(), ...wanted.keys()])].flatMap((key) => {
    const [now = '', then = ''] = [found.get(key), wanted.get(key)];
    return now === then ? [] : [{ key, expected: then || 'nothing', found: now || 'nothing' }];
  });
}

/** A program cannot be read back as rules: it is the right one, or another. */
function programDrift(
  group: string,
  calls: DeviceProgramCalls,
  record: ContainerRecord,
): ReturnType<typeof deviceRuleDrift> {
  const named = (tag: string | undefined): string => (tag === undefined ? 'none' : `program ${tag}`);
  try {
    const [found, wanted] = [calls.attachedDeviceProgram(group), calls.deviceProgramTag(programOf(record))];
    return found === wanted ? [] : [{ key: 'all', expected: named(wanted), found: named(found) }];
  } catch {
    // A kernel without such programs: the launcher has warned of it. Or the container ends just now.
    return undefined;
  }
}

const rulesOf = ({ spec, limits }: ContainerRecord): readonly OciDeviceRule[] =>
  resolveResources(limits, resolveDevices(spec.devices, spec.privileged), spec.privileged).devices;

/** As the launcher reads config.json: what is absent stands for everything. */
const programOf = (record: ContainerRecord): readonly DeviceRule[] =>
  rulesOf(record).map(({ allow, type = 'a', major = -1, minor = -1, access }) => ({
    allow,
    type,
    major,
    minor,
    access,
  }));

/** What makes the list another one. Rights are only taken that nothing else gives: /dev/null may have been mapped, too. */
export function ruleChanges(list: string, rules: readonly OciDeviceRule[]): readonly RuleChange[] {
  const [found, wanted] = [parseList(list), accessOf(rules)];
  const changes: RuleChange[] = [];
  for (const [key, access] of found) {
    const surplus = without(access, wanted.get(key) ?? '');
    if (surplus !== '') changes.push({ file: 'devices.deny', text: `${key} ${surplus}` });
  }
  for (const [key, access] of wanted) {
    const missing = without(access, found.get(key) ?? '');
    if (missing !== '') changes.push({ file: 'devices.allow', text: `${key} ${missing}` });
  }
  return changes;
}

/** "c 1:3 rwm" → what is allowed, in the order of "rwm". */
function parseList(list: string): ReadonlyMap<string, string> {
  const access = new Map<string, string>();
  for (const line of list.split('\n').filter(Boolean)) {
    const [type = '', numbers = '', letters = ''] = line.split(' ');
    const key = `${type} ${numbers}`;
    access.set(key, union(access.get(key) ?? '', letters));
  }
  return access;
}

function accessOf(rules: readonly OciDeviceRule[]): ReadonlyMap<string, string> {
  const access = new Map<string, string>();
  for (const { allow, type = 'a', major, minor, access: letters = 'rwm' } of rules) {
    // "deny all" comes first and is what everything else is an exception of.
    if (!allow) continue;
    const key = `${type} ${major ?? '*'}:${minor ?? '*'}`;
    access.set(key, union(access.get(key) ?? '', letters));
  }
  return access;
}

const union = (a: string, b: string): string => [...'rwm'].filter((one) => (a + b).includes(one)).join('');
const without = (a: string, b: string): string => [...a].filter((one) => !b.includes(one)).join('');

/** What makes the nodes of one container those of another. What is gone from the machine is removed by its path. */
export function nodeChanges(before: ContainerRecord, wanted: ContainerRecord): readonly ContainerChange[] {
  const fresh = new Map(resolveDevices(wanted.spec.devices, wanted.spec.privileged).map((one) => [one.path, one]));
  const old = new Map(before.spec.devices.flatMap(presentOnly).map((one) => [one.path, one]));
  const gone = [...old.keys()].filter((path) => !fresh.has(path));
  const made = [...fresh.values()].filter((one) => describe(old.get(one.path)) !== describe(one));
  return [
    ...gone.map((target): ContainerChange => ({ kind: 'remove-node', target, value: '' })),
    ...made.map((one): ContainerChange => ({ kind: 'make-node', target: one.path, value: describe(one) })),
  ];
}

/** Devices of a mapping that may not be on the node any more. */
function presentOnly(mapping: ContainerRecord['spec']['devices'][number]): readonly ResolvedDevice[] {
  try {
    return resolveDevices([mapping], false);
  } catch {
    const path = mapping.target === '' ? mapping.source : mapping.target;
    return [{ ...(device('/dev/null', path, 'r') as ResolvedDevice), path }];
  }
}

/** As the addon reads it: type, numbers, mode in octal, owner. */
const describe = (one: ResolvedDevice | undefined): string =>
  one === undefined
    ? ''
    : `${one.type} ${one.major} ${one.minor} ${(one.fileMode ?? 0o666).toString(8)} ${one.uid ?? 0} ${one.gid ?? 0}`;

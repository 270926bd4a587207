import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../base/errors.ts';
import { readText } from '../../inspection/cgroup-files.ts';
import type { ContainerUpdate, FoundDrift } from '../../types.ts';
import type { DeviceRights } from '../live/devices.ts';
import { deviceRights, deviceRuleDrift, setDeviceRules } from '../live/devices.ts';
import type { FilePlaces } from '../live/limits.ts';
import { controlFiles, limitChanges, setLimits } from '../live/limits.ts';
import { sysctlPath } from '../live/namespaces.ts';
import type { ContainerParts } from '../parts.ts';
import type { ContainerRecord } from '../record.ts';
import type { Difference } from './difference.ts';
import { freedomOf } from './difference.ts';
import { mountDifferences } from './mounts.ts';
import { parseMountTable } from './mount-table.ts';
import { kernelNameDifferences, nameFileDifferences, sysctlsOf } from './names.ts';
import { processDifferences } from './processes.ts';

/** What a look needs. */
export type DriftParts = Pick<
  ContainerParts,
  'disk' | 'cgroups' | 'cgroupParent' | 'calls' | 'volumes' | 'secrets' | 'sandboxes'
>;

/** A container that runs. */
export interface Subject {
  readonly record: ContainerRecord;
  readonly pid: number;
  /** What it shall be, with the contents of its files. */
  readonly request: ContainerUpdate;
}

const ONLY_REPORTED = 'the service says "x-drift: report"';

/**
 * Compares a running container with its record, and makes it what that says where it may.
 * @param places where files of control groups are: filled in, for the next container
 */
export async function checkContainer(
  parts: DriftParts,
  subject: Subject,
  repair: boolean,
  places: FilePlaces,
): Promise<readonly FoundDrift[]> {
  const found = await differencesOf(parts, subject, places);
  if (found.length === 0) return [];
  const said = ({ field, expected, found: now }: Difference, reason: string): FoundDrift => ({
    field,
    expected,
    found: now,
    repaired: reason === '',
    reason,
  });
  if (!repair) return found.map((one) => said(one, one.tolerated ?? ONLY_REPORTED));
  const failures = new Map<Difference['mend'], string>();
  for (const { mend, tolerated } of found) {
    if (mend === undefined || tolerated !== undefined || failures.has(mend)) continue;
    failures.set(mend, await attempt(mend));
  }
  if (failures.size === 0) return found.map((one) => said(one, one.tolerated ?? ''));
  // Whoever says that something is mended has looked.
  const left = new Set((await differencesOf(parts, subject, places)).map(({ field }) => field));
  return found.map((one) => {
    if (one.tolerated !== undefined) return said(one, one.tolerated);
    if (!left.has(one.field)) return said(one, '');
    return said(one, failures.get(one.mend) || 'it was set, and is as it was before');
  });
}

async function attempt(mend: () => Promise<void> | void): Promise<string> {
  try {
    await mend();
    return '';
  } catch (error) {
    return messageOf(error);
  }
}

async function differencesOf(
  parts: DriftParts,
  { record, pid, request }: Subject,
  places: FilePlaces,
): Promise<readonly Difference[]> {
  const { calls, cgroups, cgroupParent, disk, sandboxes, secrets } = parts;
  const { id, name, limits, sandbox } = record;
  const freedom = freedomOf(record);
  const folders = cgroups.map(({ path }) => join(path, cgroupParent, id));
  const files = controlFiles(folders, places);
  const table = parseMountTable(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
  const reading = await calls.readContainer(
    pid,
    sysctlsOf(record).map(([key]) => sysctlPath(key)),
  );
  const mendLimits = (): void => setLimits(files, limits, name);
  const processes = {
    list: () => membersOf(folders),
    setLimit: calls.setProcessLimit,
    supervisor: disk.readRun(id)?.supervisor.pid ?? pid,
  };
  const side = freedom.network ? 'node' : 'both';
  const links = await sandboxes.check(id, sandbox, side);
  const mendLinks = (): Promise<void> => sandboxes.mend(id, sandbox, side);
  return [
    ...limitChanges(files, limits).map(({ file, expected, found }) => ({
      field: file,
      expected,
      found,
      mend: mendLimits,
    })),
    ...deviceDifferences(deviceRights(parts, id, files), record),
    ...processDifferences(processes, record, freedom, readText),
    ...mountDifferences(parts, pid, record, freedom, table),
    ...kernelNameDifferences(parts, pid, record, freedom, reading),
    ...nameFileDifferences(parts, record, freedom),
    ...secrets.changed(id, record.files, [...request.secrets, ...request.configs]),
    ...links.map((link) => ({ ...link, mend: mendLinks })),
  ];
}

/** Rights to devices; nodes are files that a container's root may make and remove. */
function deviceDifferences(rights: DeviceRights, record: ContainerRecord): readonly Difference[] {
  if (record.spec.privileged) return [];
  const mend = (): void => setDeviceRules(rights, record);
  return (deviceRuleDrift(rights, record) ?? []).map(({ key, expected, found }) => ({
    field: `device rule ${key}`,
    expected,
    found,
    mend,
  }));
}

/** Processes of a container: those of the first hierarchy that is used for containers. */
function membersOf(folders: readonly string[]): readonly number[] {
  for (const folder of folders) {
    const lines = (readText(join(folder, 'cgroup.procs')) ?? '').split('\n').filter(Boolean);
    if (lines.length > 0) return lines.map(Number).sort((a, b) => a - b);
  }
  return [];
}

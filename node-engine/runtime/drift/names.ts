import { readFileSync } from 'node:fs';
import type { ContainerReading } from '../../native/addon.ts';
import { writeNameFiles } from '../creation.ts';
import type { ContainerPaths } from '../container-disk.ts';
import { parseResolverConfig } from '../files.ts';
import { inside, sysctlPath, writeInPlace } from '../live/namespaces.ts';
import type { ContainerChange, ContainerParts } from '../parts.ts';
import type { ContainerRecord } from '../record.ts';
import { resolveSysctls } from '../sysctls.ts';
import type { Difference, Freedom } from './difference.ts';

type Parts = Pick<ContainerParts, 'calls' | 'disk'>;

/** The sysctls that a container was given, domain name left out. */
export const sysctlsOf = ({ spec, sandbox }: ContainerRecord): readonly (readonly [key: string, value: string])[] =>
  Object.entries(
    resolveSysctls(spec.sysctls, '', { privateNetwork: sandbox.mode !== 'host', privateIpc: spec.ipcMode !== 'host' }),
  );

/** Host and domain name, and sysctls. @param reading of the sysctls in the order of {@link sysctlsOf} */
export function kernelNameDifferences(
  { calls }: Parts,
  pid: number,
  record: ContainerRecord,
  freedom: Freedom,
  reading: ContainerReading,
): readonly Difference[] {
  const { name, hostname, spec } = record;
  const differs = (field: string, expected: string, found: string, change: ContainerChange): Difference => ({
    field,
    expected,
    found,
    mend: () => inside({ calls }, pid, name, [change], 'RUNTIME_FAILED'),
  });
  const found: Difference[] = [];
  if (!freedom.mounts && reading.hostname !== hostname)
    found.push(differs('hostname', hostname, reading.hostname, { kind: 'hostname', target: '', value: hostname }));
  const { domainname } = spec;
  if (!freedom.mounts && domainname !== '' && reading.domainname !== domainname) {
    const change = { kind: 'domainname', target: '', value: domainname } as const;
    found.push(differs('domainname', domainname, reading.domainname, change));
  }
  if (freedom.sysctls) return found;
  sysctlsOf(record).forEach(([key, value], index) => {
    const now = reading.sysctls[index] ?? '';
    // None: a kernel without it, of which the launcher warned.
    if (now === '' || isSame(now, value)) return;
    found.push(differs(`sysctl ${key}`, value, now, { kind: 'sysctl', target: sysctlPath(key), value }));
  });
  return found;
}

/** "0x10" is 16, and the kernel puts tabs between numbers. */
function isSame(found: string, wanted: string): boolean {
  const words = (text: string): readonly (string | number)[] =>
    text
      .trim()
      .split(/\s+/)
      .map((word) => (Number.isNaN(Number(word)) ? word : Number(word)));
  return JSON.stringify(words(found)) === JSON.stringify(words(wanted));
}

/**
 * The files that tell a container its own name and those of others, as far as they follow from its record: what is copied from the
 * node's own files changes with these.
 */
export function nameFileDifferences(
  { disk }: Parts,
  record: ContainerRecord,
  { files: mayWrite }: Freedom,
): readonly Difference[] {
  const paths = disk.paths(record.id);
  const wanted = new Map<string, string>();
  writeNameFiles(paths, record, (path, text) => wanted.set(path, text));
  const shown: Readonly<Record<string, string>> = {
    [paths.hosts]: '/etc/hosts',
    [paths.hostname]: '/etc/hostname',
    [paths.resolvConf]: '/etc/resolv.conf',
  };
  return [...wanted].flatMap(([path, text]): readonly Difference[] => {
    const compare = comparisonOf(path, paths, record);
    const now = readFileSync(path, 'utf8');
    if (compare === undefined || compare(now) === compare(text)) return [];
    const [expected, found] = firstDifference(text, now);
    const field = `file ${shown[path]}`;
    if (mayWrite) {
      const tolerated = 'a process of the container runs as root and may have written it';
      return [{ field, expected, found, tolerated }];
    }
    return [{ field, expected, found, mend: () => writeInPlace(path, text) }];
  });
}

/** What of a file has to be as it was made; undefined: nothing. */
function comparisonOf(
  path: string,
  paths: ContainerPaths,
  { spec, sandbox }: ContainerRecord,
): ((text: string) => string) | undefined {
  if (path === paths.hosts) return sandbox.mode === 'host' ? undefined : (text) => text;
  if (path === paths.hostname) return (text) => text;
  if (sandbox.mode !== 'networks' && sandbox.mode !== 'container') return undefined;
  return (text) => {
    const { nameservers, options, search } = parseResolverConfig(text);
    return JSON.stringify([nameservers, options, spec.dnsSearch.length > 0 ? search : []]);
  };
}

/** The first line that differs. */
function firstDifference(expected: string, found: string): readonly [expected: string, found: string] {
  const [left, right] = [expected.split('\n'), found.split('\n')];
  const index = left.findIndex((line, at) => line !== right[at]);
  const at = index === -1 ? left.length : index;
  const line = (lines: readonly string[]): string => (lines[at] ?? '').replaceAll('\t', ' ') || 'nothing more';
  return [line(left), line(right)];
}

import { TsswarmError } from '../../../base/errors.ts';
import { parseSignal } from '../../../base/signals.ts';
import type { ContainerSpec } from '../../../proto/types/index.ts';
import type { ContainerRecord } from '../record.ts';
import { keyOf } from '../record.ts';
import { planMounts } from './mounts.ts';

/**
 * What of a running container is changed at a time. Each step makes true what the second of two records says, from whatever is there,
 * so that it can be repeated, and taken back by the first.
 */
export type StepName =
  'limits' | 'devices' | 'resources' | 'mounts' | 'networks' | 'names' | 'sysctls' | 'log' | 'shm' | 'signal';

/** Nothing that runs goes by it: the new record is enough. */
const RECORD = 'record';
/** It cannot be changed while the container runs. */
const FIXED = 'fixed';

type Part = StepName | typeof RECORD | typeof FIXED;

/** Every part of a container: a new one does not compile before it is decided who makes it true. */
const RECORD_PARTS: Record<keyof ContainerRecord, Part | 'spec'> = {
  version: FIXED,
  id: FIXED,
  name: FIXED,
  spec: 'spec',
  imageId: FIXED,
  image: FIXED,
  limits: 'limits',
  log: 'log',
  sandbox: 'networks',
  labels: RECORD,
  hostname: 'names',
  volumes: 'mounts',
  files: 'mounts',
  argv: FIXED,
  healthCheck: RECORD,
  stopSignal: RECORD,
  // Of the creation, not of the spec.
  createdAt: RECORD,
  fenced: FIXED,
  specVersion: RECORD,
};

const SPEC_PARTS: Record<keyof ContainerSpec, Part> = {
  image: FIXED,
  entrypoint: FIXED,
  command: FIXED,
  env: FIXED,
  workingDir: FIXED,
  user: FIXED,
  groups: FIXED,
  // As resolved, in the record itself.
  hostname: RECORD,
  domainname: 'names',
  labels: RECORD,
  mounts: 'mounts',
  // As they are given, in the record itself.
  secrets: RECORD,
  configs: RECORD,
  healthCheck: RECORD,
  stopSignal: RECORD,
  stopGraceMs: RECORD,
  tty: FIXED,
  openStdin: FIXED,
  readOnly: FIXED,
  privileged: FIXED,
  init: FIXED,
  capAdd: FIXED,
  capDrop: FIXED,
  securityOpt: FIXED,
  sysctls: 'sysctls',
  ulimits: 'resources',
  devices: 'devices',
  extraHosts: 'names',
  dns: 'names',
  dnsSearch: 'names',
  dnsOptions: 'names',
  shmBytes: 'shm',
  oomScoreAdj: 'resources',
  // The image is here.
  pullPolicy: RECORD,
  pidMode: FIXED,
  ipcMode: FIXED,
  postStart: RECORD,
  preStop: RECORD,
};

/**
 * The order in which steps are taken: what is refused more often comes first, what cannot always be taken back last. A process that is
 * told of new files finds everything else done, too.
 */
const ORDER: readonly StepName[] = [
  'mounts',
  'shm',
  'networks',
  'limits',
  'devices',
  'resources',
  'log',
  'names',
  'sysctls',
  'signal',
];

/**
 * The steps that make one container of another.
 * @throws NOT_SUPPORTED naming what cannot be changed
 */
export function planSteps(before: ContainerRecord, after: ContainerRecord): readonly StepName[] {
  const needed = new Set<Part>();
  const look = (parts: Readonly<Record<string, Part | 'spec'>>, left: object, right: object): void => {
    for (const [key, part] of Object.entries(parts)) {
      const [old, fresh] = [left[key as keyof typeof left], right[key as keyof typeof right]] as unknown[];
      if (part === 'spec') look(SPEC_PARTS, old as object, fresh as object);
      else if (!same(old, fresh)) {
        if (part === FIXED) throw fixed(after.name, key);
        needed.add(part);
      }
    }
  };
  look(RECORD_PARTS, before, after);
  refuseUnknown(before, after);
  if (needed.has('mounts')) planMounts(before, after);
  if (needed.has('networks')) {
    refuseSandbox(before, after);
    // Its own addresses stand in /etc/hosts.
    needed.add('names');
    // The interfaces are those of the container whose namespace it is.
    if (after.sandbox.mode === 'container') needed.delete('networks');
  }
  if (changeSignals(before, after).length > 0) needed.add('signal');
  return ORDER.filter((step) => needed.has(step));
}

/**
 * Signals for the main process after a change of its secrets and configs, each once: those of files that are new or have another content
 * (or owner or mode, which are part of the file).
 */
export function changeSignals(before: ContainerRecord, after: ContainerRecord): readonly number[] {
  const old = new Map(before.files.map((file, index) => [file.target, keyOf(file, index)]));
  const signals = after.files.flatMap((file, index) =>
    file.signal === undefined || old.get(file.target) === keyOf(file, index) ? [] : [parseSignal(file.signal)],
  );
  return [...new Set(signals)];
}

/** What would have to be what it was before, which nobody knows; and a log where none was begun. */
function refuseUnknown(before: ContainerRecord, after: ContainerRecord): void {
  const lost = Object.keys(before.spec.sysctls).find((key) => after.spec.sysctls[key] === undefined);
  if (lost !== undefined)
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `changing the sysctls of container "${after.name}": what "${lost}" was before it was set is not known`,
    );
  if ((before.log.driver === 'none') !== (after.log.driver === 'none')) throw fixed(after.name, 'log driver');
}

/** A process stays in its network namespace, and an interface that is up keeps its name. */
function refuseSandbox(before: ContainerRecord, after: ContainerRecord): void {
  const [old, fresh] = [before.sandbox, after.sandbox];
  if (old.mode !== fresh.mode || old.container !== fresh.container) throw fixed(after.name, 'network mode');
  for (const { networkId, name } of fresh.interfaces) {
    const known = old.interfaces.find((one) => one.networkId === networkId);
    if (known !== undefined && known.name !== name) throw fixed(after.name, 'interface name');
  }
}

const fixed = (name: string, key: string): TsswarmError =>
  new TsswarmError(
    'NOT_SUPPORTED',
    `changing "${key}" of container "${name}": it cannot be changed while the container runs`,
  );

/** By meaning: an absent field is an empty one, the order of keys does not count. */
function same(left: unknown, right: unknown): boolean {
  return text(left) === text(right);
}

function text(value: unknown): string {
  return (
    JSON.stringify(value ?? null, (_, inner: unknown) => {
      if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
      return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
    }) ?? ''
  );
}

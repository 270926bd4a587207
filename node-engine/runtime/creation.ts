import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { TsswarmError } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import { parseSignal } from '../../base/signals.ts';
import type { ContainerCreate, ContainerUpdate } from '../types.ts';
import { resolveArgv } from './command.ts';
import { resolveBlockIo } from './block-io.ts';
import { resolveDevices } from './devices.ts';
import { hostnameFile, hostsFile, resolvFile } from './files.ts';
import { resolveHealthCheck } from './health.ts';
import { parseLogConfig } from './log-options.ts';
import type { BoundSource } from './mounts.ts';
import type { OciSpec } from './oci.ts';
import type { ContainerParts } from './parts.ts';
import type { ContainerPaths } from './container-disk.ts';
import type { ContainerRecord, FilePlace } from './record.ts';
import { placeOf } from './record.ts';
import type { OverlayPaths } from './spec.ts';
import { generateSpec, resolveHostname } from './spec.ts';
import { planVolumes } from './volume-plan.ts';

/**
 * What the container will be. The whole configuration is proven here, before anything is made.
 * @param adopted the container whose anonymous volumes it takes over
 * @throws IMAGE_NOT_FOUND, INVALID_INPUT, NOT_SUPPORTED
 */
export function planContainer(
  parts: ContainerParts,
  request: ContainerCreate,
  adopted: ContainerRecord | undefined,
): ContainerRecord {
  const { id, name, spec, imageId, limits, log, sandbox, labels } = request;
  const image = parts.images.find(imageId)?.config;
  if (!image) {
    throw new TsswarmError(
      'IMAGE_NOT_FOUND',
      `creating container "${name}": image "${spec.image}" (${imageId}) is not on this node`,
    );
  }
  const record: ContainerRecord = {
    version: 1,
    id,
    name,
    spec,
    imageId,
    image,
    limits,
    log,
    sandbox,
    labels: { ...spec.labels, ...labels },
    hostname: resolveHostname(spec, id, parts.nodeHostname, sandbox.mode === 'host'),
    volumes: planVolumes(spec, image, adopted),
    files: [...request.secrets, ...request.configs].map(placeOf),
    argv: resolveArgv(spec, image),
    healthCheck: resolveHealthCheck(spec.healthCheck, image.healthCheck),
    stopSignal: spec.stopSignal || image.stopSignal || 'SIGTERM',
    createdAt: parts.clock.now(),
    ...(request.fenced === true ? { fenced: true } : {}),
    ...(request.specVersion === undefined ? {} : { specVersion: request.specVersion }),
  };
  prove(parts, record);
  return record;
}

/**
 * What a container becomes that is there already: what belongs to the image and to the run stays.
 * @param files where its secrets and configs are
 * @throws INVALID_INPUT, NOT_SUPPORTED
 */
export function planUpdate(
  parts: ContainerParts,
  request: ContainerUpdate,
  files: readonly FilePlace[],
  before: ContainerRecord,
): ContainerRecord {
  const { id, name, spec, limits, log, sandbox, labels, fenced, specVersion } = request;
  const { fenced: _, specVersion: _old, ...kept } = before;
  const record: ContainerRecord = {
    ...kept,
    name,
    spec,
    limits,
    log,
    sandbox,
    labels: { ...spec.labels, ...labels },
    hostname: resolveHostname(spec, id, parts.nodeHostname, sandbox.mode === 'host'),
    volumes: planVolumes(spec, before.image, before),
    files,
    argv: resolveArgv(spec, before.image),
    healthCheck: resolveHealthCheck(spec.healthCheck, before.image.healthCheck),
    stopSignal: spec.stopSignal || before.image.stopSignal || 'SIGTERM',
    ...(fenced === true ? { fenced } : {}),
    ...(specVersion === undefined ? {} : { specVersion }),
  };
  prove(parts, record);
  return record;
}

/** Makes sure that a container can be started from it. */
function prove(parts: ContainerParts, record: ContainerRecord): void {
  const { spec, log } = record;
  parseSignal(record.stopSignal);
  for (const { signal } of record.files) if (signal !== undefined) parseSignal(signal);
  parseLogConfig(log);
  const targets = [...spec.mounts.filter(({ type }) => type === 'bind'), ...record.volumes, ...record.files];
  const binds = targets.map(({ target }) => ({ source: '/', target, readOnly: true, propagation: '', options: [] }));
  generateConfiguration(parts, record, { lower: [], upper: '', work: '' }, binds, '/to/be/made');
}

/**
 * The OCI configuration of a container on this node.
 * @param networkNamespace of its sandbox; not looked at when it shares the node's network
 * @throws INVALID_INPUT, NOT_SUPPORTED
 */
export function generateConfiguration(
  { cgroupParent, launcherPath }: ContainerParts,
  record: ContainerRecord,
  overlay: OverlayPaths,
  binds: readonly BoundSource[],
  networkNamespace: string,
): OciSpec {
  const { id, spec, image, limits, hostname, sandbox } = record;
  return generateSpec({
    id,
    spec,
    image,
    limits,
    hostname,
    networkNamespace: sandbox.mode === 'host' ? '' : networkNamespace,
    overlay,
    cgroupsPath: `${cgroupParent}/${id}`,
    binds,
    devices: resolveDevices(spec.devices, spec.privileged),
    blockIo: resolveBlockIo(limits.blockIo),
    launcherPath,
  });
}

/**
 * Makes what the container consists of: writable layer (unless it takes over the one of `adopted`), sandbox, volumes, the
 * engine's files, secrets. What it has made when it throws is for the caller to clear.
 */
export async function furnishContainer(
  parts: ContainerParts,
  request: ContainerCreate,
  record: ContainerRecord,
  adopted: ContainerRecord | undefined,
): Promise<void> {
  const { layers, sandboxes, secrets, disk } = parts;
  const { id, sandbox } = record;
  const paths = disk.paths(id);
  writeNameFiles(paths, record, (path, text) => writeFileSync(path, text, { mode: 0o644 }));
  secrets.write(id, [...request.secrets, ...request.configs]);
  // All settle before a failure is handled: clearing must not run beside something that is still being made.
  const results = await Promise.allSettled([
    adopted?.imageId === record.imageId ? undefined : layers.create(id, record.imageId),
    sandbox.mode === 'host' ? undefined : sandboxes.create(id, sandbox),
    furnishVolumes(parts, record, adopted),
  ]);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

/** The files that tell a container its own name and those of others. */
export function writeNameFiles(
  paths: ContainerPaths,
  { spec, hostname, sandbox }: ContainerRecord,
  write: (path: string, text: string) => void,
): void {
  write(paths.hosts, hostsFile(spec, hostname, sandbox, readIfThere('/etc/hosts')));
  write(paths.hostname, hostnameFile(hostname));
  write(paths.resolvConf, resolvFile(spec, sandbox.mode, readIfThere('/etc/resolv.conf')));
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/**
 * Makes the volumes that a container shall have.
 * @param adopted whose volumes it has already
 */
export async function furnishVolumes(
  { volumes, images }: ContainerParts,
  { id, name: container, spec, imageId, volumes: uses }: ContainerRecord,
  adopted: ContainerRecord | undefined,
): Promise<void> {
  for (const use of uses) {
    const mount = spec.mounts.find(({ type, target }) => type === 'volume' && target === use.target);
    const { source, driver, driverOptions, labels, noCopy } =
      mount?.type === 'volume' ? mount : { source: '', driver: '', driverOptions: {}, labels: {}, noCopy: false };
    volumes.attach(use.name, id, container);
    if (source !== '') await volumes.ensure({ name: source, driver, driverOptions, labels });
    else if (adopted?.volumes.some(({ name }) => name === use.name)) continue;
    else await volumes.createAnonymous(use.name, id, { driver, driverOptions, labels });
    if (!noCopy && use.subpath === '') await volumes.fill(use.name, images.layerPaths(imageId), use.target);
  }
}

/**
 * Moves what stays: anonymous volumes and the log always, the writable layer if the image is the same (over other layers its content would
 * be something else). From the note on disk until the container is committed a crash leads to {@link undoAdoption}.
 */
export async function adoptContainer(
  { disk, layers, volumes }: ContainerParts,
  record: ContainerRecord,
  from: ContainerRecord,
): Promise<void> {
  disk.writeAdoption(record.id, from.id);
  if (from.imageId === record.imageId) await layers.adopt(from.id, record.id);
  volumes.adopt(from.id, record.id);
  disk.moveLogs(from.id, record.id);
}

/** Gives back what an unfinished container has taken over, if anything. */
export async function undoAdoption({ layers, volumes, disk }: ContainerParts, id: ContainerId): Promise<void> {
  const from = disk.readAdoption(id);
  if (from === undefined) return;
  const present = layers.list();
  if (present.includes(id) && !present.includes(from)) await layers.adopt(id, from);
  volumes.adopt(id, from);
  disk.moveLogs(id, from);
  disk.clearAdoption(id);
}

/** Removes all that belongs to a container that does not exist (any more). */
export async function clearContainer(
  { disk, layers, sandboxes, volumes, secrets }: ContainerParts,
  id: ContainerId,
): Promise<void> {
  secrets.remove(id);
  await Promise.all([sandboxes.remove(id), layers.remove(id), volumes.forget(id)]);
  await disk.removeFolders(id);
}

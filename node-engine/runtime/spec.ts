import { TsswarmError } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { ContainerSpec, ResourceLimits } from '../../proto/types/index.ts';
import type { ImageConfig } from '../types.ts';
import { resolveCapabilities } from './capabilities.ts';
import { resolveArgv, resolveEnvironment, resolveWorkingDir } from './command.ts';
import type { BoundSource } from './mounts.ts';
import { MASKED_PATHS, READONLY_PATHS, resolveMounts } from './mounts.ts';
import type { OciBlockIo, OciNamespace, OciProcess, OciSpec } from './oci.ts';
import type { ResolvedDevice } from './resources.ts';
import { resolveResources, resolveRlimits } from './resources.ts';
import { parseSecurityOptions } from './security.ts';
import { resolveSysctls } from './sysctls.ts';

/** Where the launcher stands inside a container that asked for `init`; Docker's name for it. */
export const INIT_PATH = '/sbin/docker-init';

/** Directories of an overlay mount on the node. */
export interface OverlayPaths {
  /** Top-most first. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
}

/** All that the edge has found out or made before; with it the configuration is a pure function. */
export interface SpecInput {
  readonly id: ContainerId;
  readonly spec: ContainerSpec;
  readonly image: ImageConfig;
  readonly limits: ResourceLimits;
  /** As {@link resolveHostname} gave it. */
  readonly hostname: string;
  /** Path of the network namespace; empty: the node's own. */
  readonly networkNamespace: string;
  readonly overlay: OverlayPaths;
  /** "/tsswarm/<id>", relative to each controller's mount. */
  readonly cgroupsPath: string;
  /** Binds, volumes, secrets, configs and the engine's own files, with their sources on the node. */
  readonly binds: readonly BoundSource[];
  readonly devices: readonly ResolvedDevice[];
  /** Limits at block devices; undefined: none. */
  readonly blockIo?: OciBlockIo | undefined;
  /** The launcher's path on the node, mounted as {@link INIT_PATH} when the container wants an init. */
  readonly launcherPath: string;
}

/**
 * The OCI configuration of a container.
 * @throws INVALID_INPUT, NOT_SUPPORTED with the offending value
 */
export function generateSpec(input: SpecInput): OciSpec {
  const { spec } = input;
  const security = parseSecurityOptions(spec.securityOpt, spec.privileged);
  const hostNetwork = input.networkNamespace === '';
  const init: readonly BoundSource[] = spec.init
    ? [{ source: input.launcherPath, target: INIT_PATH, readOnly: true, propagation: '', options: ['nosuid', 'nodev'] }]
    : [];
  return {
    ociVersion: '1.2.0',
    process: generateProcess(input, security.noNewPrivileges),
    root: { path: input.overlay.upper, readonly: spec.readOnly },
    hostname: input.hostname,
    mounts: resolveMounts({
      spec,
      hostNetwork,
      binds: [...input.binds, ...init],
      tmpfs: spec.mounts.filter((mount) => mount.type === 'tmpfs'),
    }),
    annotations: { 'tsswarm.overlay': JSON.stringify(input.overlay) },
    linux: {
      namespaces: namespaces(spec, input.networkNamespace),
      resources: {
        ...resolveResources(input.limits, input.devices, spec.privileged),
        ...(input.blockIo === undefined ? {} : { blockIO: input.blockIo }),
      },
      cgroupsPath: input.cgroupsPath,
      maskedPaths: security.unmaskedPaths ? [] : MASKED_PATHS,
      readonlyPaths: security.unmaskedPaths ? [] : READONLY_PATHS,
      sysctl: resolveSysctls(spec.sysctls, spec.domainname, {
        privateNetwork: !hostNetwork,
        privateIpc: !isHost('ipc', spec.ipcMode),
      }),
      devices: input.devices.map(({ permissions: _, ...device }) => device),
      rootfsPropagation: 'rprivate',
    },
  };
}

function generateProcess({ spec, image, hostname }: SpecInput, noNewPrivileges: boolean): OciProcess {
  const argv = resolveArgv(spec, image);
  return {
    terminal: spec.tty,
    user: processUser(spec.user !== '' ? spec.user : image.user, spec.groups),
    args: spec.init ? [INIT_PATH, 'init', '--', ...argv] : argv,
    env: resolveEnvironment(image.env, spec.env, hostname, spec.tty),
    cwd: resolveWorkingDir(spec.workingDir, image.workingDir),
    capabilities: resolveCapabilities(spec.capAdd, spec.capDrop, spec.privileged),
    rlimits: resolveRlimits(spec.ulimits),
    noNewPrivileges,
    ...(spec.oomScoreAdj === 0 ? {} : { oomScoreAdj: checkOomScore(spec.oomScoreAdj) }),
  };
}

/** The user as the launcher takes it: it looks names up inside the container. */
export function processUser(user: string, groups: readonly string[]): OciProcess['user'] {
  return {
    uid: 0,
    gid: 0,
    additionalGids: [],
    username: user === '' ? '0' : user,
    ...(groups.length === 0 ? {} : { additionalGroups: groups }),
  };
}

/** Prints a configuration; an unlimited rlimit comes out as 2^64-1, exactly. */
export function printJson(value: unknown): string {
  const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };
  return JSON.stringify(value, (_key, item: unknown) => (item === Infinity ? rawJSON('18446744073709551615') : item));
}

/** The container's host name: the spec's, the node's when it shares the node's network, else the id's first 12 digits. */
export function resolveHostname(
  spec: ContainerSpec,
  id: ContainerId,
  nodeHostname: string,
  hostNetwork: boolean,
): string {
  const hostname = spec.hostname !== '' ? spec.hostname : hostNetwork ? nodeHostname : id.slice(0, 12);
  // sethostname(2): 64 bytes; RFC 1123 allows letters, digits, hyphens and dots. Docker lets underscores pass, so do we.
  if (!/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9_])?$/.test(hostname)) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `setting the host name "${hostname}": malformed, expected letters, digits, "-" and ".", at most 64`,
    );
  }
  return hostname;
}

function namespaces(spec: ContainerSpec, networkPath: string): readonly OciNamespace[] {
  return [
    { type: 'mount' },
    { type: 'uts' },
    { type: 'cgroup' },
    ...(isHost('pid', spec.pidMode) ? [] : [{ type: 'pid' } as const]),
    ...(isHost('ipc', spec.ipcMode) ? [] : [{ type: 'ipc' } as const]),
    ...(networkPath === '' ? [] : [{ type: 'network', path: networkPath } as const]),
  ];
}

function isHost(key: 'pid' | 'ipc', mode: string): boolean {
  if (mode === 'host') return true;
  if (mode === '' || mode === 'private') return false;
  throw new TsswarmError('NOT_SUPPORTED', `sharing a namespace by ${key} mode "${mode}": expected "host" or "private"`);
}

function checkOomScore(score: number): number {
  if (Number.isInteger(score) && score >= -1000 && score <= 1000) return score;
  throw new TsswarmError('INVALID_INPUT', `setting oom_score_adj "${score}": out of range, expected -1000 to 1000`);
}

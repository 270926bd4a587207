/**
 * A seccomp profile in Docker's terms, and the choice of those of its rules that hold for one container. The format is that
 * of `docker run --security-opt seccomp=FILE`; without `includes` and `excludes` it is linux.seccomp of the OCI runtime
 * specification.
 */

/** What happens to a call; SECCOMP_RET_* of seccomp(2). Data is the errno, or the value a tracer reads. */
export type Action =
  | { readonly kind: 'allow' | 'log' | 'trap' | 'kill-thread' | 'kill-process' }
  | { readonly kind: 'errno' | 'trace'; readonly data: number };

export type Operator = 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge' | 'masked-eq';

/** A comparison of one argument, unsigned and over all 64 bits. */
export interface ArgumentRule {
  /** 0 to 5. */
  readonly index: number;
  readonly operator: Operator;
  /** What the argument is compared with; for masked-eq the mask. */
  readonly value: bigint;
  /** What the masked argument is compared with. */
  readonly valueTwo: bigint;
}

/** A rule applies when all the includes and none of the excludes hold. */
export interface Condition {
  /** Included: the container has each. Excluded: it has any. */
  readonly capabilities: readonly string[];
  /** Go's names: "amd64"; the node's is one of them. */
  readonly architectures: readonly string[];
  /** The node's kernel is this or newer. */
  readonly minKernel?: KernelVersion;
}

export interface KernelVersion {
  readonly major: number;
  readonly minor: number;
}

export interface SyscallRule {
  readonly names: readonly string[];
  readonly action: Action;
  /** All have to hold. */
  readonly args: readonly ArgumentRule[];
  readonly includes: Condition;
  readonly excludes: Condition;
}

export interface SeccompProfile {
  readonly defaultAction: Action;
  readonly rules: readonly SyscallRule[];
}

/** What the conditions of a profile ask about. */
export interface Circumstances {
  readonly architecture: string;
  readonly kernel: KernelVersion;
  /** The container's bounding set. */
  readonly capabilities: ReadonlySet<string>;
}

/** The rules that hold under the circumstances, in the profile's order. */
export function selectRules(profile: SeccompProfile, circumstances: Circumstances): readonly SyscallRule[] {
  const { architecture, capabilities, kernel } = circumstances;
  return profile.rules.filter(
    ({ includes, excludes }) =>
      (includes.architectures.length === 0 || includes.architectures.includes(architecture)) &&
      includes.capabilities.every((name) => capabilities.has(name)) &&
      (!includes.minKernel || isAtLeast(kernel, includes.minKernel)) &&
      !excludes.architectures.includes(architecture) &&
      !excludes.capabilities.some((name) => capabilities.has(name)) &&
      !(excludes.minKernel && isAtLeast(kernel, excludes.minKernel)),
  );
}

function isAtLeast(kernel: KernelVersion, minimum: KernelVersion): boolean {
  return kernel.major > minimum.major || (kernel.major === minimum.major && kernel.minor >= minimum.minor);
}

/** "6.1" or "6.1.0-9-amd64" as a version; undefined for anything else. */
export function parseKernelVersion(text: string): KernelVersion | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)(?:[.\-+]|$)/.exec(text) ?? [];
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor) };
}

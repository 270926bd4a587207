import type { NetworkSpec, SecretSpec, ServiceSpec, VolumeSpec } from './objects.ts';

/**
 * One compose project as the cluster shall have it: what `ApplyProject` takes, made by the converter. Names are the full
 * ones. What the project does not list and the cluster has under this project is an orphan.
 */
export interface DesiredProject {
  readonly name: string;
  /** Absolute; for people and labels only. */
  readonly workingDir: string;
  readonly configFiles: readonly string[];
  readonly services: readonly ServiceSpec[];
  readonly networks: readonly NetworkSpec[];
  readonly volumes: readonly VolumeSpec[];
  readonly secrets: readonly SecretSpec[];
  readonly configs: readonly SecretSpec[];
  /** Names of networks and volumes that must exist already and belong to nobody here. */
  readonly externalNetworks: readonly string[];
  readonly externalVolumes: readonly string[];
  /** Names of secrets and configs that somebody else has made: "tsswarm secret create". */
  readonly externalSecrets: readonly string[];
  readonly externalConfigs: readonly string[];
}

/** The compose file's own key and the full name of every kind of thing that can change. */
export type ChangeKind = 'service' | 'network' | 'volume' | 'secret' | 'config';
export type ChangeAction = 'create' | 'update' | 'replace' | 'remove' | 'orphan' | 'none';

/** What a changed field does to containers that run. */
export interface FieldEffect {
  /** "task.container.image" */
  readonly field: string;
  /** `keep`: nothing; `live`: they are changed; `replace`: others take their place. */
  readonly effect: 'keep' | 'live' | 'replace';
  /** Why they are replaced; else empty. */
  readonly reason: string;
}

/** One line of a plan. `update`: no task restarts; `replace`: tasks are replaced. */
export interface ProjectChange {
  readonly kind: ChangeKind;
  readonly name: string;
  readonly action: ChangeAction;
  /** Paths of the spec fields that differ: "task.container.image". */
  readonly fields: readonly string[];
  /** Of a service: what each of the fields does; absent: nothing is known of it. */
  readonly effects?: readonly FieldEffect[];
}

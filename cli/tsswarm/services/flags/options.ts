import { Option } from 'commander';
import type { Command } from 'commander';
import { repeatable } from '../../../terminal/program.ts';

/** Flags with one value that `create` and `update` share. */
export interface ScalarFlags {
  readonly drift?: string;
  readonly endpointMode?: string;
  readonly entrypoint?: string;
  readonly healthCmd?: string;
  readonly healthInterval?: string;
  readonly healthRetries?: string;
  readonly healthStartInterval?: string;
  readonly healthStartPeriod?: string;
  readonly healthTimeout?: string;
  /** `--no-healthcheck` */
  readonly noHealthcheck?: boolean;
  readonly hostname?: string;
  readonly init?: boolean;
  readonly limitCpu?: string;
  readonly limitMemory?: string;
  readonly limitPids?: string;
  readonly logDriver?: string;
  readonly logOpt?: readonly string[];
  readonly maxConcurrent?: string;
  readonly memorySwap?: string;
  readonly memorySwappiness?: string;
  readonly oomScoreAdj?: string;
  readonly readOnly?: boolean;
  readonly replicas?: string;
  readonly replicasMaxPerNode?: string;
  readonly reserveCpu?: string;
  readonly reserveMemory?: string;
  readonly restartCondition?: string;
  readonly restartDelay?: string;
  readonly restartMaxAttempts?: string;
  readonly restartWindow?: string;
  readonly rollbackDelay?: string;
  readonly rollbackFailureAction?: string;
  readonly rollbackMaxFailureRatio?: string;
  readonly rollbackMonitor?: string;
  readonly rollbackOrder?: string;
  readonly rollbackParallelism?: string;
  readonly stopGracePeriod?: string;
  readonly stopSignal?: string;
  readonly tty?: boolean;
  readonly updateDelay?: string;
  readonly updateFailureAction?: string;
  readonly updateMaxFailureRatio?: string;
  readonly updateMonitor?: string;
  readonly updateOrder?: string;
  readonly updateParallelism?: string;
  readonly user?: string;
  readonly workdir?: string;
  readonly credentialSpec?: string;
  readonly isolation?: string;
  readonly withRegistryAuth?: boolean;
}

/** The lists of a service: what `create` gives with `--env`, `update` with `--env-add` and takes away with `--env-rm`. */
export const LISTS = {
  capAdd: ['cap-add', 'add a capability'],
  capDrop: ['cap-drop', 'drop a capability'],
  config: ['config', 'a config of the cluster as a file: <name> or source=…,target=…,uid=…,gid=…,mode=…,signal=…'],
  constraint: ['constraint', 'placement constraint: node.labels.disk==ssd'],
  containerLabel: ['container-label', 'label of the containers: <key>=<value>'],
  dns: ['dns', 'DNS server'],
  dnsOption: ['dns-option', 'option of the resolver'],
  dnsSearch: ['dns-search', 'search domain'],
  env: ['env', 'environment variable: <name>=<value>, or <name> for the value it has here'],
  genericResource: ['generic-resource', 'kind of resource that a node must have free: gpu=2'],
  group: ['group', 'additional group of the process'],
  host: ['host', 'line of /etc/hosts: <name>:<address>'],
  label: ['label', 'label of the service: <key>=<value>'],
  mount: ['mount', 'type=volume|bind|tmpfs,source=…,target=…[,readonly]…'],
  network: ['network', 'network to attach to: <name> or name=…,alias=…,ip=…; host; none'],
  placementPref: ['placement-pref', 'spread=node.labels.<key>'],
  publish: [
    'publish',
    'publish a port: [published:]target[/protocol] or published=…,target=…,protocol=…,mode=…,x-source=…',
  ],
  secret: ['secret', 'a secret of the cluster as a file: <name> or source=…,target=…,uid=…,gid=…,mode=…,signal=…'],
  sysctl: ['sysctl', 'kernel parameter: <name>=<value>'],
  ulimit: ['ulimit', 'limit of the process: nofile=1024:2048'],
} as const satisfies Readonly<Record<string, readonly [flag: string, about: string]>>;

export type ListName = keyof typeof LISTS;
const SHORT: Readonly<Partial<Record<ListName, string>>> = { env: 'e', label: 'l', publish: 'p' };
/** Those of which an update has only one flag: they go both ways. */
const ONE_FLAG: readonly ListName[] = ['capAdd', 'capDrop'];

/** What is added to each list, and what is taken away. */
export type ListFlags = Readonly<
  Partial<Record<ListName, { readonly add?: readonly string[]; readonly rm?: readonly string[] }>>
>;

/** An option that only happens to begin with "no": it is not the opposite of another. */
function plainNo(option: Option): Option {
  option.negate = false;
  return option;
}

/** The options with one value, as Docker has them. */
function addScalars(command: Command): Command {
  return command
    .option('-d, --detach', 'return at once: do not wait until it runs as it shall')
    .option('-q, --quiet', 'show no progress')
    .option('--drift <policy>', 'repair what somebody changes by hand on the containers, or only report it (repair)')
    .option('--endpoint-mode <mode>', 'vip: the name leads to one virtual address; dnsrr: to every container (vip)')
    .option('--entrypoint <command>', "instead of the image's entrypoint")
    .option('--health-cmd <command>', 'run in the container to see whether it is healthy')
    .option('--health-interval <duration>', 'time between checks (30s)')
    .option('--health-retries <number>', 'failures in a row that make it unhealthy (3)')
    .option('--health-start-interval <duration>', 'time between checks while it starts')
    .option('--health-start-period <duration>', 'failures do not count so long after the start')
    .option('--health-timeout <duration>', 'longest time for one check (30s)')
    .addOption(plainNo(new Option('--no-healthcheck', "without the image's health check")))
    .option('--hostname <name>', 'host name of the containers')
    .option('--init', 'a small init reaps orphans in the container')
    .addOption(new Option('--no-init').hideHelp())
    .option('--limit-cpu <number>', 'CPUs at most')
    .option('--limit-memory <size>', 'memory at most')
    .option('--limit-pids <number>', 'processes at most (0: any)')
    .option('--log-driver <driver>', 'json-file, local or none')
    .addOption(repeatable('--log-opt <key=value>', 'max-size, max-file; repeatable'))
    .option('--max-concurrent <number>', 'of a replicated-job: as many as there are replicas, nothing else yet')
    .option('--memory-swap <size>', 'memory and swap at most (-1: any swap)')
    .addOption(new Option('--memory-swappiness <number>').hideHelp())
    .option('--oom-score-adj <number>', '-1000 to 1000')
    .option('--read-only', "the container's root is read-only")
    .addOption(new Option('--no-read-only').hideHelp())
    .option('--replicas <number>', 'number of tasks')
    .option('--replicas-max-per-node <number>', 'tasks on one node at most (0: any)')
    .option('--reserve-cpu <number>', 'CPUs that a node must have free')
    .option('--reserve-memory <size>', 'memory that a node must have free')
    .option('--restart-condition <condition>', 'none, on-failure or any (any)')
    .option('--restart-delay <duration>', 'wait before a restart (5s), doubled after each failure in a row up to 1m')
    .option('--restart-max-attempts <number>', 'restarts at most (0: any)')
    .option('--restart-window <duration>', 'restarts within it count')
    .option('--rollback-delay <duration>', 'wait between tasks of a rollback')
    .option('--rollback-failure-action <action>', 'pause or continue (pause)')
    .option('--rollback-max-failure-ratio <ratio>', 'part of the tasks that may fail in a rollback')
    .option('--rollback-monitor <duration>', 'a task is watched so long after a rollback (5s)')
    .option('--rollback-order <order>', 'start-first or stop-first (stop-first)')
    .option('--rollback-parallelism <number>', 'tasks rolled back at a time (1; 0: all)')
    .option('--stop-grace-period <duration>', 'from the stop signal to SIGKILL (10s)')
    .option('--stop-signal <signal>', 'that asks a container to stop')
    .option('-t, --tty', 'with a terminal')
    .addOption(new Option('--no-tty').hideHelp())
    .option('--update-delay <duration>', 'wait between tasks of an update')
    .option('--update-failure-action <action>', 'pause, continue or rollback (pause)')
    .option('--update-max-failure-ratio <ratio>', 'part of the tasks that may fail in an update')
    .option('--update-monitor <duration>', 'a task is watched so long after an update (5s)')
    .option('--update-order <order>', 'start-first or stop-first (stop-first)')
    .option('--update-parallelism <number>', 'tasks updated at a time (1; 0: all)')
    .option('-u, --user <user>', '<name or id>[:<group or id>]')
    .option('-w, --workdir <path>', 'working directory of the process')
    .addOption(new Option('--credential-spec <spec>').hideHelp())
    .addOption(new Option('--isolation <technology>').hideHelp())
    .addOption(new Option('--with-registry-auth').hideHelp())
    .addOption(plainNo(new Option('--no-resolve-image', 'images are never resolved to digests beforehand').hideHelp()));
}

/** The options of `service create`. */
export function addCreateOptions(command: Command): Command {
  addScalars(command)
    .option('--name <name>', 'name of the service (default: one is made up)')
    .option('--mode <mode>', 'replicated, global, replicated-job or global-job', 'replicated')
    .addOption(repeatable('--env-file <file>', 'environment variables, one a line; repeatable'));
  for (const [name, [flag, about]] of Object.entries(LISTS)) {
    const short = SHORT[name as ListName];
    command.addOption(
      repeatable(`${short === undefined ? '' : `-${short}, `}--${flag} <value>`, `${about}; repeatable`),
    );
  }
  return command;
}

/** The options of `service update`. */
export function addUpdateOptions(command: Command): Command {
  addScalars(command)
    .option('--args <command>', "arguments instead of the image's command")
    .option('--image <image>', 'image to run')
    .option('--force', 'replace the tasks although nothing changed')
    .option('--dry-run', 'only say what would change: each field, and whether tasks are replaced for it')
    .option('--rollback', 'back to the specification before, as "service rollback"');
  for (const [name, [flag, about]] of Object.entries(LISTS)) {
    if (ONE_FLAG.includes(name as ListName)) command.addOption(repeatable(`--${flag} <value>`, `${about}; repeatable`));
    else {
      command.addOption(repeatable(`--${flag}-add <value>`, `${about}; repeatable`));
      command.addOption(repeatable(`--${flag}-rm <value>`, `take one away; repeatable`));
    }
  }
  return command;
}

/** The lists that `create`'s flags give. */
export function createdLists(options: Readonly<Record<string, unknown>>): ListFlags {
  return listsOf((name) => ({ add: options[name] }));
}

/** The changes of lists that `update`'s flags ask for. */
export function updatedLists(options: Readonly<Record<string, unknown>>): ListFlags {
  return listsOf((name) =>
    ONE_FLAG.includes(name) ? { add: options[name] } : { add: options[`${name}Add`], rm: options[`${name}Rm`] },
  );
}

function listsOf(read: (name: ListName) => { readonly add: unknown; readonly rm?: unknown }): ListFlags {
  return Object.fromEntries(
    (Object.keys(LISTS) as ListName[]).map((name) => {
      const { add, rm } = read(name);
      return [name, { add: (add ?? []) as readonly string[], rm: (rm ?? []) as readonly string[] }];
    }),
  );
}

import { TsswarmError } from '../../../../base/errors.ts';
import { LOG_OPTIONS } from '../../../../compose/normalise/log-options.ts';
import type {
  ContainerSpec,
  HealthCheck,
  LogConfig,
  ResourceLimits,
  RestartPolicy,
  ServiceSpec,
  TaskSpec,
  UpdateConfig,
} from '../../../../proto/types/index.ts';
import type { ScalarFlags } from './options.ts';
import { bytes, commandWords, count, durationMs, nanoCpus, pair, ratio, refuseValue, word } from './values.ts';

const CONDITIONS = ['none', 'on-failure', 'any'] as const;
const ENDPOINT_MODES = ['vip', 'dnsrr'] as const;
const DRIFT_POLICIES = ['repair', 'report'] as const;
const ORDERS = ['start-first', 'stop-first'] as const;

/** A spec with what the flags of one value say; what they do not mention stays. @throws INVALID_INPUT, NOT_SUPPORTED */
export function withScalars(spec: ServiceSpec, flags: ScalarFlags): ServiceSpec {
  refuseUnsupported(flags);
  const mode = spec.mode ?? 'replicated';
  const isJob = mode.endsWith('-job');
  if (flags.replicas !== undefined && mode !== 'replicated' && mode !== 'replicated-job')
    refuse('--replicas', `it is for replicated services: this one is ${mode}`);
  const replicas = flags.replicas === undefined ? spec.replicas : count('--replicas', flags.replicas);
  checkConcurrency(flags, mode, replicas);
  const endpointMode =
    flags.endpointMode === undefined ? undefined : word('--endpoint-mode', flags.endpointMode, ENDPOINT_MODES);
  const update = updateConfig('update', flags, spec.update);
  const rollback = updateConfig('rollback', flags, spec.rollback);
  if (isJob && (update !== undefined || rollback !== undefined))
    refuse('--update-* and --rollback-*', 'jobs are not updated: they run anew');
  return {
    ...spec,
    replicas,
    task: task(spec.task, flags, isJob),
    ...(endpointMode === undefined ? {} : { endpointMode }),
    ...(update === undefined ? {} : { update }),
    ...(rollback === undefined ? {} : { rollback }),
  };
}

function refuse(flag: string, why: string): never {
  throw new TsswarmError('INVALID_INPUT', `using ${flag}: ${why}`);
}

/** Docker's flags that are understood and cannot be honoured. */
function refuseUnsupported(flags: ScalarFlags): void {
  const not = (given: boolean, flag: string, why: string): void => {
    if (given) throw new TsswarmError('NOT_SUPPORTED', `using ${flag}: ${why}`);
  };
  const { withRegistryAuth, credentialSpec, isolation, memorySwappiness } = flags;
  not(
    withRegistryAuth === true,
    '--with-registry-auth',
    'logins at registries are not supported yet; bring the image to the nodes with "tsswarm image load"',
  );
  not(credentialSpec !== undefined, '--credential-spec', 'it is for Windows containers');
  not(isolation !== undefined && isolation !== 'default', '--isolation', 'it is for Windows containers');
  not(memorySwappiness !== undefined, '--memory-swappiness', 'it is not supported; limit swap with --memory-swap');
}

function checkConcurrency({ maxConcurrent }: ScalarFlags, mode: string, replicas: number): void {
  if (maxConcurrent === undefined) return;
  if (mode !== 'replicated-job') refuse('--max-concurrent', `it is for replicated jobs: this service is ${mode}`);
  if (count('--max-concurrent', maxConcurrent, 1) >= replicas) return;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `using --max-concurrent "${maxConcurrent}": the ${replicas} tasks of a job run at once, fewer at a time is not supported yet`,
  );
}

function task(spec: TaskSpec, flags: ScalarFlags, isJob: boolean): TaskSpec {
  const maxReplicasPerNode =
    flags.replicasMaxPerNode === undefined ? undefined : count('--replicas-max-per-node', flags.replicasMaxPerNode);
  const reserves = {
    ...spec.reservations,
    ...(flags.reserveCpu === undefined ? {} : { nanoCpus: nanoCpus('--reserve-cpu', flags.reserveCpu) }),
    ...(flags.reserveMemory === undefined ? {} : { memoryBytes: bytes('--reserve-memory', flags.reserveMemory) }),
  };
  const { drift: before, ...rest } = spec;
  const drift = flags.drift === undefined ? before : word('--drift', flags.drift, DRIFT_POLICIES);
  return {
    ...rest,
    ...(drift === 'report' ? { drift } : {}),
    container: container(spec.container, flags),
    limits: limits(spec.limits, flags),
    reservations: reserves,
    restart: restart(spec.restart, flags, isJob),
    log: log(spec.log, flags),
    ...(maxReplicasPerNode === undefined
      ? {}
      : { placement: { spread: spec.placement?.spread ?? [], maxReplicasPerNode } }),
  };
}

function container(spec: ContainerSpec, flags: ScalarFlags): ContainerSpec {
  const { entrypoint: before, healthCheck: checked, ...rest } = spec;
  const entrypoint =
    flags.entrypoint === undefined
      ? before
      : flags.entrypoint === ''
        ? undefined
        : { args: commandWords('--entrypoint', flags.entrypoint) };
  const healthCheck = health(checked, flags);
  const given = <T>(value: T | undefined, present: T): T => value ?? present;
  return {
    ...rest,
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(healthCheck === undefined ? {} : { healthCheck }),
    hostname: given(flags.hostname, spec.hostname),
    user: given(flags.user, spec.user),
    workingDir: given(flags.workdir, spec.workingDir),
    stopSignal: given(flags.stopSignal, spec.stopSignal),
    stopGraceMs:
      flags.stopGracePeriod === undefined ? spec.stopGraceMs : durationMs('--stop-grace-period', flags.stopGracePeriod),
    init: given(flags.init, spec.init),
    readOnly: given(flags.readOnly, spec.readOnly),
    tty: given(flags.tty, spec.tty),
    oomScoreAdj: oomScore(flags.oomScoreAdj) ?? spec.oomScoreAdj,
  };
}

function oomScore(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const score = count('--oom-score-adj', text, -1000);
  return score > 1000 ? refuseValue('--oom-score-adj', text, 'expected -1000 to 1000') : score;
}

function health(before: HealthCheck | undefined, flags: ScalarFlags): HealthCheck | undefined {
  const { healthCmd, healthInterval, healthRetries, healthStartInterval, healthStartPeriod, healthTimeout } = flags;
  const ms = (name: string, flag: string, text: string | undefined): object =>
    text === undefined ? {} : { [name]: durationMs(flag, text) };
  const change: Partial<HealthCheck> = {
    ...(healthCmd === undefined ? {} : { test: healthCmd === '' ? [] : ['CMD-SHELL', healthCmd] }),
    ...ms('intervalMs', '--health-interval', healthInterval),
    ...(healthRetries === undefined ? {} : { retries: count('--health-retries', healthRetries) }),
    ...ms('startIntervalMs', '--health-start-interval', healthStartInterval),
    ...ms('startPeriodMs', '--health-start-period', healthStartPeriod),
    ...ms('timeoutMs', '--health-timeout', healthTimeout),
  };
  const isGiven = Object.keys(change).length > 0;
  if (flags.noHealthcheck === true) {
    if (isGiven) refuse('--no-healthcheck with --health-*', 'they exclude each other');
    return { test: ['NONE'] };
  }
  if (!isGiven) return before;
  const test = before === undefined || before.test[0] === 'NONE' ? [] : before.test;
  return { ...before, test, ...change };
}

function limits(before: ResourceLimits, flags: ScalarFlags): ResourceLimits {
  const { limitCpu, limitMemory, limitPids, memorySwap } = flags;
  return {
    ...before,
    ...(limitCpu === undefined ? {} : { nanoCpus: nanoCpus('--limit-cpu', limitCpu) }),
    ...(limitMemory === undefined ? {} : { memoryBytes: bytes('--limit-memory', limitMemory) }),
    ...(limitPids === undefined ? {} : { pids: count('--limit-pids', limitPids) }),
    ...(memorySwap === undefined ? {} : { memorySwapBytes: bytes('--memory-swap', memorySwap) }),
  };
}

function restart(before: RestartPolicy, flags: ScalarFlags, isJob: boolean): RestartPolicy {
  const { restartCondition, restartDelay, restartMaxAttempts, restartWindow } = flags;
  const condition =
    restartCondition === undefined ? before.condition : word('--restart-condition', restartCondition, CONDITIONS);
  const delayMs = restartDelay === undefined ? before.delayMs : durationMs('--restart-delay', restartDelay);
  return {
    // A job that has completed is not run again, as Docker has it.
    condition: isJob && condition === 'any' ? 'on-failure' : condition,
    delayMs,
    maxDelayMs: Math.max(delayMs, before.maxDelayMs),
    maxAttempts:
      restartMaxAttempts === undefined ? before.maxAttempts : count('--restart-max-attempts', restartMaxAttempts),
    windowMs: restartWindow === undefined ? before.windowMs : durationMs('--restart-window', restartWindow),
  };
}

function log(before: LogConfig, { logDriver, logOpt }: ScalarFlags): LogConfig {
  if (logDriver === undefined && logOpt === undefined) return before;
  const driver = logDriver ?? before.driver;
  const known = LOG_OPTIONS[driver];
  if (known === undefined) {
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `using --log-driver "${driver}": it is not there, those that are: ${Object.keys(LOG_OPTIONS).join(', ')}`,
    );
  }
  const options = Object.fromEntries((logOpt ?? []).map((text) => pair('--log-opt', text)));
  const strange = Object.keys(options).find((key) => !known.includes(key));
  if (strange !== undefined) {
    const words = known.length === 0 ? 'it has none' : `known are ${known.join(', ')}`;
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `using --log-opt "${strange}": the log driver "${driver}" has no such option, ${words}`,
    );
  }
  const kept = logDriver === undefined || logDriver === before.driver ? before.options : {};
  return { driver, options: { ...kept, ...options } };
}

/** The update or rollback rules with what the flags say; undefined: they say nothing. */
function updateConfig(
  kind: 'update' | 'rollback',
  flags: ScalarFlags,
  before: UpdateConfig = { parallelism: 1, delayMs: 0, order: 'stop-first' },
): UpdateConfig | undefined {
  const text = (name: 'Delay' | 'FailureAction' | 'MaxFailureRatio' | 'Monitor' | 'Order' | 'Parallelism') =>
    flags[`${kind}${name}`];
  const flag = `--${kind}`;
  const [delay, action, share] = [text('Delay'), text('FailureAction'), text('MaxFailureRatio')];
  const [monitor, order, parallelism] = [text('Monitor'), text('Order'), text('Parallelism')];
  if ([delay, action, share, monitor, order, parallelism].every((one) => one === undefined)) return undefined;
  const actions = kind === 'update' ? (['pause', 'continue', 'rollback'] as const) : (['pause', 'continue'] as const);
  return {
    ...before,
    ...(delay === undefined ? {} : { delayMs: durationMs(`${flag}-delay`, delay) }),
    ...(action === undefined ? {} : { failureAction: word(`${flag}-failure-action`, action, actions) }),
    ...(share === undefined ? {} : { maxFailureRatio: ratio(`${flag}-max-failure-ratio`, share) }),
    ...(monitor === undefined ? {} : { monitorMs: durationMs(`${flag}-monitor`, monitor) }),
    ...(order === undefined ? {} : { order: word(`${flag}-order`, order, ORDERS) }),
    ...(parallelism === undefined ? {} : { parallelism: count(`${flag}-parallelism`, parallelism) }),
  };
}

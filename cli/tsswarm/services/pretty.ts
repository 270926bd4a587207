import { numberWords } from '../../../base/published-port.ts';
import type { Service, UpdateConfig } from '../../../proto/types/index.ts';
import { formatDuration } from '../../../compose/render/config.ts';
import { durationWords, formatMemory } from '../../render/index.ts';
import { modeWords } from './list.ts';

/** As `docker service inspect --pretty`. @param now wall time, ms */
export function prettyService(service: Service, now: number): string {
  const lines: string[] = [];
  const add = (label: string, value: string | number): void => {
    lines.push(`${`${label}: `.padEnd(label.startsWith(' ') ? 18 : 16)}${value}`.trimEnd());
  };
  const list = (label: string, values: readonly string[]): void => {
    if (values.length > 0) add(label, values.join(' '));
  };
  const { spec, updateStatus } = service;
  const { task } = spec;
  const { container } = task;
  add('ID', service.id);
  add('Name', spec.name);
  if (service.projectName !== '') add('Stack', service.projectName);
  if (Object.keys(spec.labels).length > 0) {
    lines.push('Labels:');
    for (const [key, value] of Object.entries(spec.labels).sort()) lines.push(` ${key}=${value}`);
  }
  add(
    'Service Mode',
    modeWords(service).replace(/^./, (first) => first.toUpperCase()),
  );
  if (spec.mode === undefined || spec.mode === 'replicated') add(' Replicas', spec.replicas);
  if (spec.mode === 'replicated-job') add(' Completions', spec.replicas);
  if (service.stopped) add(' Stopped', 'yes');
  if (updateStatus !== undefined) {
    lines.push('UpdateStatus:');
    add(' State', updateStatus.state);
    add(' Started', ago(now - updateStatus.startedAt));
    if (updateStatus.completedAt > 0) add(' Completed', ago(now - updateStatus.completedAt));
    add(' Message', updateStatus.message);
  }
  lines.push('Placement:');
  list(' Constraints', task.constraints);
  list(' Preferences', task.placement?.spread.map((label) => `spread=${label}`) ?? []);
  if (task.placement !== undefined && task.placement.maxReplicasPerNode > 0)
    add(' Max Replicas Per Node', task.placement.maxReplicasPerNode);
  if (spec.mode?.endsWith('-job') !== true) update('UpdateConfig', spec.update);
  if (spec.rollback !== undefined) update('RollbackConfig', spec.rollback);
  lines.push('ContainerSpec:');
  add(' Image', container.image);
  list(' Command', container.entrypoint?.args ?? []);
  list(' Args', container.command?.args ?? []);
  list(' Env', container.env);
  if (container.workingDir !== '') add(' Dir', container.workingDir);
  if (container.user !== '') add(' User', container.user);
  add(' Init', String(container.init));
  if (container.mounts.length > 0) {
    lines.push('Mounts:');
    for (const mount of container.mounts) {
      add(' Target', mount.target);
      if (mount.type !== 'tmpfs') add('  Source', mount.source);
      add('  ReadOnly', String(mount.readOnly));
      add('  Type', mount.type);
    }
  }
  const files = (label: string, kind: 'secrets' | 'configs'): void => {
    if (container[kind].length === 0) return;
    lines.push(`${label}:`);
    for (const { name, target, signal } of container[kind])
      add(` Target`, `${target}  source ${name}${signal === undefined ? '' : `  signal ${signal}`}`);
  };
  files('Secrets', 'secrets');
  files('Configs', 'configs');
  lines.push('Resources:');
  const resources = (label: string, limits: { readonly nanoCpus?: number; readonly memoryBytes?: number }): void => {
    const { nanoCpus = 0, memoryBytes = 0 } = limits;
    if (nanoCpus === 0 && memoryBytes === 0) return;
    lines.push(` ${label}:`);
    if (nanoCpus > 0) add('  CPU', nanoCpus / 1e9);
    if (memoryBytes > 0) add('  Memory', formatMemory(memoryBytes));
  };
  resources('Reservations', task.reservations);
  resources('Limits', task.limits);
  list('Networks', task.networkMode === 'networks' ? task.networks.map(({ network }) => network) : [task.networkMode]);
  add('Endpoint Mode', 'dnsrr');
  if (service.ports.length > 0) {
    lines.push('Ports:');
    for (const port of service.ports) {
      add(' PublishedPort', numberWords(port));
      add('  Protocol', port.protocol);
      add('  TargetPort', port.target);
      add('  PublishMode', port.mode);
    }
  }
  return `${lines.join('\n')}\n`;

  function update(label: string, config: UpdateConfig): void {
    lines.push(`${label}:`);
    add(' Parallelism', config.parallelism);
    if (config.delayMs > 0) add(' Delay', formatDuration(config.delayMs));
    add(' On failure', config.failureAction ?? 'pause');
    add(' Monitoring Period', formatDuration(config.monitorMs ?? 5000));
    add(' Max failure ratio', config.maxFailureRatio ?? 0);
    add(' Update order', config.order);
  }
}

const ago = (ms: number): string => `${durationWords(Math.max(0, ms)).toLowerCase()} ago`;

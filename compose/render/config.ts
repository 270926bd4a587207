import { dump } from 'js-yaml';
import type { ComposeProject, ComposeService } from '../types/project.ts';

/** The canonical project as `config` prints it: loadable again, so every literal dollar is doubled. */
export function renderConfig(project: ComposeProject, format: 'yaml' | 'json'): string {
  const model = escapeDollars({
    name: project.name,
    services: Object.fromEntries(
      Object.entries(project.services).map(([name, service]) => [name, renderService(service)]),
    ),
    ...present('networks', project.networks),
    ...present('volumes', project.volumes),
    ...present('secrets', project.secrets),
    ...present('configs', project.configs),
  });
  return format === 'json'
    ? `${JSON.stringify(model, undefined, 2)}\n`
    : dump(model, { lineWidth: -1, noRefs: true, sortKeys: false });
}

const present = (key: string, objects: Readonly<Record<string, object>>): object =>
  Object.keys(objects).length === 0 ? {} : { [key]: objects };

/** A service with durations and sizes as text, sorted by key, empty collections left out. */
function renderService(service: ComposeService): Record<string, unknown> {
  const rendered: Record<string, unknown> = {};
  for (const key of Object.keys(service).sort()) {
    const value = service[key as keyof ComposeService];
    if (value === undefined || isEmpty(value, key)) continue;
    rendered[key] = renderField(key, value);
  }
  return rendered;
}

const ALWAYS = ['command', 'entrypoint', 'networks'];
const isEmpty = (value: unknown, key: string): boolean =>
  !ALWAYS.includes(key) && typeof value === 'object' && value !== null && Object.keys(value).length === 0;

const DURATIONS = [
  'interval',
  'timeout',
  'start_period',
  'start_interval',
  'stop_grace_period',
  'delay',
  'window',
  'monitor',
];
const SIZES = ['memory', 'mem_limit', 'memswap_limit', 'mem_reservation', 'shm_size', 'size'];

function renderField(key: string, value: unknown): unknown {
  if (typeof value === 'number' && DURATIONS.includes(key)) return formatDuration(value);
  if (typeof value === 'number' && key === 'mode') return `0${value.toString(8)}`;
  if (typeof value === 'number' && SIZES.includes(key)) return String(value);
  if (Array.isArray(value)) return value.map((item) => renderField('', item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([inner, field]) => [inner, renderField(inner, field)]));
}

/** Milliseconds as Go prints durations: "1m30s", "1h0m0s", "500ms". */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor((ms % 3_600_000) / 60_000);
  const seconds = (ms % 60_000) / 1000;
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

function escapeDollars(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('$', '$$$$');
  if (Array.isArray(value)) return value.map(escapeDollars);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [escapeDollars(key), escapeDollars(field)]));
}

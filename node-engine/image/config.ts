import { TsswarmError } from '../../base/errors.ts';
import type { HealthCheck } from '../../proto/types/index.ts';
import type { ImageConfig } from '../types.ts';
import { numberAt, objectAt, objectsAt, parseJsonObject, stringAt, stringMapAt, stringsAt } from './json.ts';
import type { JsonObject } from './json.ts';
import { parsePlatform } from './manifest.ts';
import type { Platform } from './manifest.ts';
import { isDigest } from '../../base/image-reference.ts';

/** An image's config blob (OCI image-spec, config.md), as far as it is used. */
export interface ConfigDocument {
  readonly platform: Platform;
  /** ms since the epoch; 0 when it is not told. */
  readonly createdAt: number;
  readonly config: ImageConfig;
  /** Lowest first. */
  readonly diffIds: readonly string[];
  readonly history: readonly HistoryEntry[];
}

export interface HistoryEntry {
  readonly created: string;
  readonly createdBy: string;
  readonly comment: string;
  /** It made no layer: ENV, CMD and the like. */
  readonly emptyLayer: boolean;
}

/** Reads an image config. @param what names it in messages @throws CORRUPT */
export function parseConfig(bytes: Uint8Array, what: string): ConfigDocument {
  const document = parseJsonObject(bytes, what);
  const diffIds = stringsAt(objectAt(document, 'rootfs'), 'diff_ids');
  const wrong = diffIds.find((diffId) => !isDigest(diffId));
  if (wrong !== undefined) throw new TsswarmError('CORRUPT', `reading ${what}: the diff id "${wrong}" is no digest`);
  return {
    platform: parsePlatform(document),
    createdAt: Date.parse(stringAt(document, 'created')) || 0,
    config: runConfig(objectAt(document, 'config')),
    diffIds,
    history: objectsAt(document, 'history').map((entry) => ({
      created: stringAt(entry, 'created'),
      createdBy: stringAt(entry, 'created_by'),
      comment: stringAt(entry, 'comment'),
      emptyLayer: entry['empty_layer'] === true,
    })),
  };
}

function runConfig(config: JsonObject): ImageConfig {
  return {
    entrypoint: stringsAt(config, 'Entrypoint'),
    command: stringsAt(config, 'Cmd'),
    env: stringsAt(config, 'Env'),
    workingDir: stringAt(config, 'WorkingDir'),
    user: stringAt(config, 'User'),
    exposedPorts: Object.keys(objectAt(config, 'ExposedPorts')),
    volumes: Object.keys(objectAt(config, 'Volumes')),
    labels: stringMapAt(config, 'Labels'),
    stopSignal: stringAt(config, 'StopSignal'),
    healthCheck: healthCheck(objectAt(config, 'Healthcheck')),
  };
}

/** Docker's extension; its durations are nanoseconds, 0 for the default. */
function healthCheck(value: JsonObject): HealthCheck | undefined {
  const test = stringsAt(value, 'Test');
  if (test.length === 0) return undefined;
  const ms = (key: string): number => Math.round(numberAt(value, key) / 1e6);
  const retries = numberAt(value, 'Retries');
  return {
    test,
    ...(ms('Interval') > 0 && { intervalMs: ms('Interval') }),
    ...(ms('Timeout') > 0 && { timeoutMs: ms('Timeout') }),
    ...(retries > 0 && { retries }),
    ...(ms('StartPeriod') > 0 && { startPeriodMs: ms('StartPeriod') }),
    ...(ms('StartInterval') > 0 && { startIntervalMs: ms('StartInterval') }),
  };
}

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';

/** What a node was started with and keeps over its restarts, so that nobody has to type it again. */
export interface NodeSettings {
  readonly nodeName: string;
  readonly cgroupParent: string;
  /** Labels of the engine, which placement constraints may ask for; absent: none. */
  readonly engineLabels?: Readonly<Record<string, string>>;
  /** What the node has beside CPUs and memory, as its flags say it; absent: nothing. */
  readonly genericResources?: readonly string[];
}

const pathOf = (stateDir: string): string => join(stateDir, 'node.json');

/** Whether a node has been started there before. */
export const hasSettings = (stateDir: string): boolean => existsSync(pathOf(stateDir));

/** What was kept; empty where nothing was. @throws CORRUPT */
export function loadSettings(stateDir: string): Partial<NodeSettings> {
  if (!hasSettings(stateDir)) return {};
  const path = pathOf(stateDir);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Partial<NodeSettings>;
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `reading "${path}": it is not what a node writes there`, {
      cause,
      hint: 'remove the file and start the node with the options that it was started with first',
    });
  }
}

/** On disk when it returns; a crash leaves the old file or the new one. */
export function saveSettings(stateDir: string, settings: NodeSettings): void {
  const { nodeName, cgroupParent, engineLabels = {}, genericResources = [] } = settings;
  const kept: NodeSettings = { nodeName, cgroupParent, engineLabels, genericResources };
  const path = pathOf(stateDir);
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(kept)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
}

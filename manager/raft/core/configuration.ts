import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Entry, Server } from '../types.ts';
import { newProgress } from './progress.ts';
import type { Core } from './state.ts';
import { isVoter, servers } from './state.ts';

const VERSION = 1;

export function encodeConfiguration(members: readonly Server[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: VERSION, servers: members }));
}

/** @throws CORRUPT */
export function decodeConfiguration(payload: Uint8Array): readonly Server[] {
  try {
    const { version, servers: members } = JSON.parse(new TextDecoder().decode(payload)) as {
      version: number;
      servers: readonly Server[];
    };
    if (version !== VERSION || !Array.isArray(members)) throw new Error(`version ${version} is not ${VERSION}`);
    return members.map(({ id, address, voter }) => ({ id, address, voter }));
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `reading a membership entry of the log: ${messageOf(cause)}`, { cause });
  }
}

/** A configuration is in force from the moment it is in the log. */
export function configurationAppended(core: Core, entry: Entry, now: number): void {
  const configuration = { index: entry.index, servers: decodeConfiguration(entry.payload) };
  core.configurations.push(configuration);
  core.effects.push({ kind: 'membership', configuration, committed: false });
  if (core.role === 'leader') syncPeers(core, now);
}

/** Rolls back what was never committed. */
export function configurationsTruncated(core: Core, from: number): void {
  const before = core.configurations.length;
  core.configurations = core.configurations.filter(({ index }) => index < from);
  const configuration = core.configurations.at(-1);
  if (core.configurations.length === before || configuration === undefined) return;
  core.effects.push({ kind: 'membership', configuration, committed: configuration.index <= core.commitIndex });
}

/** Forgets configurations that are superseded for good. */
export function configurationsCommitted(core: Core): void {
  const newest = core.configurations.findLastIndex(({ index }) => index <= core.commitIndex);
  if (newest <= 0) return;
  core.configurations.splice(0, newest);
  const configuration = core.configurations[0];
  if (configuration !== undefined) core.effects.push({ kind: 'membership', configuration, committed: true });
}

/** This server leads and is committed to be no voter: it has to step down now, and not before (thesis, 4.2.2). */
export function leaderIsOut(core: Core): boolean {
  return core.role === 'leader' && core.configurations.length === 1 && !isVoter(core, core.config.id);
}

/** The reachable voter with the longest matching log, other than this server. */
export function furthestVoter(core: Core): Server | undefined {
  let best: Server | undefined;
  let bestMatch = -1;
  for (const server of servers(core)) {
    const progress = core.peers.get(server.id);
    if (!server.voter || progress?.reachable !== true || progress.match <= bestMatch) continue;
    best = server;
    bestMatch = progress.match;
  }
  return best;
}

/** Begins to feed new members and stops to feed old ones. */
export function syncPeers(core: Core, now: number): void {
  const members = new Set(servers(core).map(({ id }) => id));
  for (const id of core.peers.keys()) if (!members.has(id)) core.peers.delete(id);
  for (const id of members) {
    if (id !== core.config.id && !core.peers.has(id)) core.peers.set(id, newProgress(core.log.lastIndex + 1, now));
  }
}

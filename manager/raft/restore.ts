import { TsswarmError } from '../../base/errors.ts';
import { decodeConfiguration, encodeConfiguration } from './core/configuration.ts';
import type { Restored } from './core/core.ts';
import { RaftLog } from './core/log.ts';
import type { TermRun } from './core/log.ts';
import { forceNewCluster } from './core/recovery.ts';
import type { LogStore } from './log/types.ts';
import type { Snapshot } from './snapshot/disk.ts';
import type { Configuration, Server } from './types.ts';

/** Payload bytes of entries kept in memory for peers that lag a little. */
const CACHE_BYTES = 16 * 1024 * 1024;

/** How a server with an empty disk begins: with these members, or empty until a leader contacts it. */
export type Bootstrap = { readonly servers: readonly Server[] } | 'join';

/**
 * Makes disk and memory agree at start: finishes what a crash interrupted, begins a new cluster, or makes this server a
 * cluster of its own; then reads what the core has to know.
 * @throws CORRUPT when log and snapshot do not meet
 */
export async function restore(
  log: LogStore,
  snapshot: Snapshot | undefined,
  self: Server,
  options: { readonly bootstrap: Bootstrap; readonly forceNewCluster: boolean },
): Promise<Restored> {
  const covered = snapshot?.index ?? 0;
  if (log.firstIndex > covered + 1) {
    throw new TsswarmError(
      'CORRUPT',
      `opening the log: it begins at entry ${log.firstIndex}, and the newest good snapshot ends at ${covered}`,
      { hint: 'restore the state directory from a backup' },
    );
  }
  if (snapshot !== undefined && !agrees(log, snapshot)) await log.reset(covered);
  const { hardState } = log;
  if (log.lastIndex === 0 && hardState.term === 0 && options.bootstrap !== 'join') {
    const payload = encodeConfiguration(options.bootstrap.servers);
    // The same on every founding member, so that their logs match.
    const entries = [{ index: 1, term: 1, kind: 'configuration', payload } as const];
    await log.write({ hardState: { term: 1, votedFor: '' }, entries });
  }
  if (options.forceNewCluster) {
    const recovery = forceNewCluster(self, { term: log.hardState.term, lastIndex: log.lastIndex });
    await log.write({ hardState: recovery.hardState, entries: [recovery.entry] });
  }
  const runs: TermRun[] = [];
  const configurations: Configuration[] = [];
  if (snapshot?.configuration !== undefined) configurations.push(snapshot.configuration);
  for (const { index, term, kind, payload } of log.read(log.firstIndex, log.lastIndex)) {
    if (runs.at(-1)?.term !== term) runs.push({ index, term });
    if (kind === 'configuration' && index > (configurations.at(-1)?.index ?? 0))
      configurations.push({ index, servers: decodeConfiguration(payload) });
  }
  // A log without members is of a cluster of one from before there were any, or a part of the log of a cluster that this
  // server joins: only the former voted for itself.
  const alone = snapshot?.configuration === undefined && log.hardState.votedFor === self.id;
  if (alone && (configurations[0]?.index ?? Infinity) > 1) {
    configurations.unshift({ index: 0, servers: [{ ...self, voter: true }] });
  }
  const base = log.firstIndex - 1;
  const baseTerm = base === 0 ? 0 : base === covered ? snapshot?.term : undefined;
  return {
    ...log.hardState,
    log: new RaftLog({ index: base, term: baseTerm }, runs, log.lastIndex, log, CACHE_BYTES),
    snapshot:
      snapshot === undefined
        ? undefined
        : {
            index: snapshot.index,
            term: snapshot.term,
            configuration: snapshot.configuration ?? { index: 0, servers: [{ ...self, voter: true }] },
          },
    configurations,
  };
}

/** The log reaches the snapshot and has the same entry there, or begins right behind it. */
function agrees(log: LogStore, snapshot: Snapshot): boolean {
  if (log.firstIndex === snapshot.index + 1) return true;
  if (log.lastIndex < snapshot.index) return false;
  const [entry] = log.read(snapshot.index, snapshot.index);
  return entry?.term === snapshot.term;
}

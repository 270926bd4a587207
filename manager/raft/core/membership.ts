import type { Server } from '../types.ts';
import { encodeConfiguration } from './configuration.ts';
import { appendOwn } from './replication.ts';
import { patienceMs } from './patience.ts';
import type { Core, MembershipChange } from './state.ts';
import { refuse, servers } from './state.ts';

/** Entries that a non-voter may lag behind and still be promoted: what arrives within a heartbeat or two. */
const PROMOTION_LAG = 64;

/**
 * Changes one server at a time: two configurations that differ by one have majorities that overlap (thesis, 4.1). So no
 * change begins before the last one is committed, nor before the leader committed something of its own term (the
 * correction of July 2015).
 */
export function changeMembership(core: Core, change: MembershipChange, now: number): void {
  if (core.role !== 'leader') return refuse(core, 'NOT_LEADER', 'this manager does not lead');
  if (core.transfer !== undefined) return refuse(core, 'UNAVAILABLE', 'leadership is being handed over');
  if (core.commitIndex < core.termStart)
    return refuse(core, 'UNAVAILABLE', 'the leader is new and has committed nothing yet');
  if ((core.configurations.at(-1)?.index ?? 0) > core.commitIndex)
    return refuse(core, 'CONFLICT', 'another membership change is under way');
  const result = changed(core, change, now);
  if ('code' in result) return refuse(core, result.code, result.reason);
  const index = appendOwn(core, 'configuration', encodeConfiguration(result.servers), now);
  core.effects.push({ kind: 'accepted', index, term: core.term });
}

type Changed =
  | { readonly servers: readonly Server[] }
  | { readonly code: 'NOT_FOUND' | 'ALREADY_EXISTS' | 'CONFLICT' | 'UNAVAILABLE'; readonly reason: string };

function changed(core: Core, change: MembershipChange, now: number): Changed {
  const present = servers(core);
  if (change.kind === 'add') {
    if (present.some(({ id }) => id === change.server.id))
      return { code: 'ALREADY_EXISTS', reason: `"${change.server.id}" is a member` };
    const taken = present.find(({ address }) => address === change.server.address);
    if (taken !== undefined) return { code: 'ALREADY_EXISTS', reason: `"${taken.id}" has that address` };
    return { servers: [...present, { ...change.server, voter: false }] };
  }
  const known = present.find(({ id }) => id === change.id);
  if (known === undefined) return { code: 'NOT_FOUND', reason: `"${change.id}" is no member` };
  const replace = (server: Server) => present.map((other) => (other === known ? server : other));
  switch (change.kind) {
    case 'update-address':
      return { servers: replace({ ...known, address: change.address }) };
    case 'promote': {
      if (known.voter) return { code: 'ALREADY_EXISTS', reason: `"${change.id}" is a voter` };
      const progress = core.peers.get(change.id);
      const lag = core.log.lastIndex - (progress?.match ?? 0);
      if (progress?.mode !== 'replicate' || lag > PROMOTION_LAG || !progress.reachable)
        return { code: 'UNAVAILABLE', reason: `"${change.id}" has not caught up: it lacks ${lag} entries` };
      return withQuorum(core, replace({ ...known, voter: true }), now);
    }
    case 'demote':
      if (!known.voter) return { code: 'ALREADY_EXISTS', reason: `"${change.id}" is no voter` };
      return withQuorum(core, replace({ ...known, voter: false }), now);
    case 'remove': {
      const rest = present.filter((server) => server !== known);
      return known.voter ? withQuorum(core, rest, now) : { servers: rest };
    }
  }
}

/** Refuses a configuration that could not commit its own entry now. */
function withQuorum(core: Core, next: readonly Server[], now: number): Changed {
  const voters = next.filter(({ voter }) => voter);
  if (voters.length === 0) return { code: 'CONFLICT', reason: 'no voter would be left' };
  const reachable = voters.filter(({ id }) => {
    const progress = core.peers.get(id);
    return id === core.config.id || (progress !== undefined && now - progress.lastContactMs < patienceMs(core, now));
  });
  if (reachable.length * 2 > voters.length) return { servers: next };
  return {
    code: 'CONFLICT',
    reason: `only ${reachable.length} of the ${voters.length} voters that there would be are reachable: no quorum`,
  };
}

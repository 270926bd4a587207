import type { PreVoteAnswer, PreVoteMessage, VoteAnswer, VoteMessage } from '../types.ts';
import { becomeLeader } from './leadership.ts';
import { noteSilence, patienceMs } from './patience.ts';
import { becomeFollower, resetElectionDeadline } from './role.ts';
import type { Core } from './state.ts';
import { announce, quorum, saveHardState, send, senderOf, servers } from './state.ts';

/**
 * No leader was heard of in time: asks the others whether an election would succeed. Non-voters wait, and know of no leader
 * meanwhile: it may have taken them out.
 */
export function electionTimeout(core: Core, now: number): void {
  // The votes did not come in time: where disks or messages take longer, the next election would come to nothing too.
  if (core.role === 'candidate') noteSilence(core, patienceMs(core, now), now);
  resetElectionDeadline(core, now);
  if (!mayCampaign(core)) return becomeFollower(core, core.term, '', now);
  if (!core.config.preVote) return campaign(core, now, false);
  core.role = 'pre-candidate';
  core.askedMs = now;
  core.leaderId = '';
  core.votes = new Map([[core.config.id, true]]);
  announce(core);
  if (won(core)) return campaign(core, now, false);
  for (const server of otherVoters(core)) {
    const { lastIndex, lastTerm } = core.log;
    send(core, server, { kind: 'pre-vote', lastIndex, lastTerm }, { term: core.term + 1 });
  }
}

/**
 * Whether this server may stand for election. One that is removed or demoted by an entry that is not known to be committed
 * still has to: it may be the only one with the entry, and nobody whose log is shorter can win its vote (thesis, 4.2.2).
 */
export function mayCampaign(core: Core): boolean {
  if (core.incoming?.installing === true) return false;
  const { id } = core.config;
  return core.configurations
    .slice(-2)
    .some((known) => known.servers.some((server) => server.id === id && server.voter));
}

/** Opens a term and votes for itself; that vote counts only once it is on disk, and nobody is asked before. */
export function campaign(core: Core, now: number, transfer: boolean): void {
  core.role = 'candidate';
  core.leaderId = '';
  core.term++;
  core.votedFor = core.config.id;
  core.votes = new Map();
  resetElectionDeadline(core, now);
  saveHardState(core);
  announce(core);
  for (const server of otherVoters(core)) {
    const { lastIndex, lastTerm } = core.log;
    send(core, server, { kind: 'vote', lastIndex, lastTerm, transfer }, { durable: true });
  }
}

export function onHardStatePersisted(core: Core, term: number, now: number): void {
  if (core.role !== 'candidate' || term !== core.term) return;
  core.votes.set(core.config.id, true);
  if (won(core)) becomeLeader(core, now);
}

export function onPreVote(core: Core, message: PreVoteMessage, now: number): void {
  // Two that ask at the same moment would both get their answer, and split the votes: the one with the longer log goes first, or the
  // greater id. Only for the moment: the one that goes first may not reach the others.
  const isRival = core.role === 'pre-candidate' && now - core.askedMs < core.config.heartbeatMs;
  const granted =
    message.term > core.term &&
    !leaderIsFresh(core, now) &&
    upToDate(core, message.lastIndex, message.lastTerm) &&
    !(isRival && hasSameLog(core, message) && core.config.id > message.from);
  if (granted && isRival) {
    resetElectionDeadline(core, now);
    becomeFollower(core, core.term, '', now);
  }
  const term = granted ? message.term : core.term;
  send(core, senderOf(message), { kind: 'pre-vote-answer', granted }, { term });
}

export function onPreVoteAnswer(core: Core, message: PreVoteAnswer, now: number): void {
  if (!message.granted) {
    if (message.term > core.term) becomeFollower(core, message.term, '', now);
    return;
  }
  if (core.role !== 'pre-candidate' || message.term !== core.term + 1) return;
  core.votes.set(message.from, true);
  if (won(core)) campaign(core, now, false);
}

export function onVote(core: Core, message: VoteMessage, now: number): void {
  // While a leader is heard nobody helps to depose it, unless it asked for that (thesis, 4.2.3).
  if (message.term > core.term && !message.transfer && leaderIsFresh(core, now)) return;
  if (message.term > core.term) becomeFollower(core, message.term, '', now);
  const granted =
    message.term === core.term &&
    (core.votedFor === '' || core.votedFor === message.from) &&
    upToDate(core, message.lastIndex, message.lastTerm);
  if (granted) {
    if (core.votedFor === '') {
      core.votedFor = message.from;
      saveHardState(core);
    }
    resetElectionDeadline(core, now);
  }
  send(core, senderOf(message), { kind: 'vote-answer', granted }, { durable: true });
}

export function onVoteAnswer(core: Core, message: VoteAnswer, now: number): void {
  if (message.term > core.term) return becomeFollower(core, message.term, '', now);
  // Votes of an older term say nothing about this one.
  if (core.role !== 'candidate' || message.term !== core.term || !message.granted) return;
  core.votes.set(message.from, true);
  if (won(core)) becomeLeader(core, now);
}

/** The other log is at least as new: by its last term, then by its length (paper, 5.4.1). */
function upToDate(core: Core, lastIndex: number, lastTerm: number): boolean {
  return lastTerm > core.log.lastTerm || (lastTerm === core.log.lastTerm && lastIndex >= core.log.lastIndex);
}

function hasSameLog({ log }: Core, { lastIndex, lastTerm }: PreVoteMessage): boolean {
  return log.lastIndex === lastIndex && log.lastTerm === lastTerm;
}

function leaderIsFresh(core: Core, now: number): boolean {
  if (core.role === 'leader') return true;
  // A leader may reckon with what this server heard before it was started again.
  if (now - core.startedMs < core.config.electionTimeoutMs) return true;
  return core.leaderId !== '' && now - core.lastLeaderContactMs < patienceMs(core, now);
}

function won(core: Core): boolean {
  return quorum(core, (id) => core.votes.get(id) === true);
}

function otherVoters(core: Core) {
  return servers(core).filter(({ id, voter }) => voter && id !== core.config.id);
}

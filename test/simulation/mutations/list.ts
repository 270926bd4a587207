/** A bug planted on purpose: one piece of the product's source text replaced by another when it is loaded. */
export interface Mutation {
  readonly name: string;
  /** Below manager/raft/. */
  readonly file: string;
  /** Must occur exactly once. */
  readonly find: string;
  readonly replace: string;
  /** One of those that break durability, votes or commits: all of these have to be caught. */
  readonly grave?: true;
}

/** What could be forgotten, and what the literature says was. */
export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'count non-voters in elections',
    file: 'core/state.ts',
    find: 'if (!voter) continue;',
    replace: 'void voter;',
    grave: true,
  },
  {
    name: 'count non-voters in commits',
    file: 'core/replication.ts',
    find: 'if (voter) matches.push',
    replace: 'void voter; matches.push',
    grave: true,
  },
  {
    name: 'commit an old-term entry by count',
    file: 'core/replication.ts',
    find: 'index > core.commitIndex && core.log.termAt(index) === core.term',
    replace: 'index > core.commitIndex',
    grave: true,
  },
  {
    name: 'answer a vote before sync',
    file: 'core/election.ts',
    find: "{ kind: 'vote-answer', granted }, { durable: true }",
    replace: "{ kind: 'vote-answer', granted }, {}",
    grave: true,
  },
  {
    name: 'forget to sync the vote',
    file: 'core/election.ts',
    find: 'core.votedFor = message.from;\n      saveHardState(core);',
    replace: 'core.votedFor = message.from;',
    grave: true,
  },
  {
    name: 'acknowledge entries before sync',
    file: 'core/replication.ts',
    find: 'accepted: true, index }, { durable: true }',
    replace: 'accepted: true, index }, {}',
    grave: true,
  },
  {
    name: 'leader counts itself before its disk',
    file: 'core/replication.ts',
    find: 'id === core.config.id ? core.persistedIndex',
    replace: 'id === core.config.id ? core.log.lastIndex',
    grave: true,
  },
  {
    name: 'candidate counts itself before its disk',
    file: 'core/election.ts',
    find: 'core.votes = new Map();',
    replace:
      'core.votes = new Map([[core.config.id, true]]); if (won(core)) { saveHardState(core); return becomeLeader(core, now); }',
    grave: true,
  },
  {
    name: 'ask for votes before sync',
    file: 'core/election.ts',
    find: 'lastTerm, transfer }, { durable: true }',
    replace: 'lastTerm, transfer }, {}',
    grave: true,
  },
  {
    name: 'no log check in votes',
    file: 'core/election.ts',
    find: 'return lastTerm > core.log.lastTerm ||',
    replace: 'return true || lastTerm > core.log.lastTerm ||',
    grave: true,
  },
  {
    name: 'log length only in votes',
    file: 'core/election.ts',
    find: 'return lastTerm > core.log.lastTerm || (lastTerm === core.log.lastTerm && lastIndex >= core.log.lastIndex);',
    replace: 'return lastIndex >= core.log.lastIndex;',
    grave: true,
  },
  {
    name: 'two votes in a term',
    file: 'core/election.ts',
    find: "(core.votedFor === '' || core.votedFor === message.from) &&",
    replace: '',
    grave: true,
  },
  {
    name: 'vote answers of an older term counted',
    file: 'core/election.ts',
    find: "core.role !== 'candidate' || message.term !== core.term || !message.granted",
    replace: "core.role !== 'candidate' || !message.granted",
    grave: true,
  },
  {
    name: 'vote kept over a new term',
    file: 'core/role.ts',
    find: "core.votedFor = '';",
    replace: '',
    grave: true,
  },
  {
    name: 'half of the voters is a quorum',
    file: 'core/state.ts',
    find: 'count * 2 > voters',
    replace: 'count * 2 >= voters',
    grave: true,
  },
  {
    name: 'one disk less than a majority commits',
    file: 'core/replication.ts',
    find: 'matches[Math.floor(matches.length / 2)]',
    replace: 'matches[Math.floor((matches.length - 1) / 2)]',
    grave: true,
  },
  {
    name: 'no check of the entry before',
    file: 'core/replication.ts',
    find: 'log.termAt(message.prevIndex) !== message.prevTerm',
    replace: 'message.prevIndex > log.lastIndex',
  },
  {
    name: 'truncate without contradiction',
    file: 'core/replication.ts',
    find: 'index > core.commitIndex && log.termAt(index) !== term',
    replace: 'index > core.commitIndex && term > 0',
  },
  {
    name: 'follower commits past what was verified',
    file: 'core/replication.ts',
    find: 'Math.min(message.commitIndex, lastNew)',
    replace: 'Math.min(message.commitIndex, log.lastIndex)',
    grave: true,
  },
  {
    name: 'follower acknowledges its whole log',
    file: 'core/replication.ts',
    find: 'const index = Math.max(lastNew, known ? core.commitIndex : 0);',
    replace: 'const index = log.lastIndex;',
    grave: true,
  },
  {
    name: 'heartbeats carry the commit index whatever the peer has',
    file: 'core/leadership.ts',
    find: 'Math.min(progress.match, core.commitIndex)',
    replace: 'core.commitIndex',
    grave: true,
  },
  {
    name: 'answers of an earlier leadership believed',
    file: 'core/core.ts',
    find: "if (message.term < core.term || core.role !== 'leader') return;",
    replace: "if (core.role !== 'leader') return;",
    grave: true,
  },
  {
    name: 'a sync vouches for what replaced its entries',
    file: 'core/replication.ts',
    find: 'write.index = Math.min(write.index, from - 1);',
    replace: 'void write;',
    grave: true,
  },
  {
    name: 'reads from any leader',
    file: 'core/read-index.ts',
    find: 'if (!quorum(core, confirmed)) return;',
    replace: '',
  },
  {
    name: 'reads confirmed by an older round',
    file: 'core/read-index.ts',
    find: 'answeredRound ?? 0) >= round',
    replace: 'answeredRound ?? 0) >= round - 1',
  },
  {
    name: 'reads before the first commit of the term',
    file: 'core/read-index.ts',
    find: ' || core.commitIndex < core.termStart',
    replace: '',
  },
  {
    name: 'two membership changes at once',
    file: 'core/membership.ts',
    find: '(core.configurations.at(-1)?.index ?? 0) > core.commitIndex',
    replace: 'false as boolean',
  },
  {
    name: 'membership change before the first commit of the term',
    file: 'core/membership.ts',
    find: 'core.commitIndex < core.termStart',
    replace: 'false as boolean',
  },
  {
    name: 'membership not rolled back',
    file: 'core/configuration.ts',
    find: 'core.configurations.filter(({ index }) => index < from)',
    replace: 'core.configurations.filter(({ index }) => index < Infinity && from > 0)',
  },
  {
    name: 'only members of the newest configuration stand for election',
    file: 'core/election.ts',
    find: '.slice(-2)',
    replace: '.slice(-1)',
  },
  {
    name: 'log kept that contradicts an installed snapshot',
    file: 'core/snapshot.ts',
    find: 'const resetLog = core.log.termAt(meta.index) !== meta.term;',
    replace: 'const resetLog = core.log.lastIndex < meta.index;',
  },
  {
    name: 'snapshot chunks of two leaders mixed',
    file: 'core/snapshot.ts',
    find: 'incoming?.from === from && incoming.meta.index',
    replace: 'from !== "" && incoming?.meta.index',
  },
  {
    name: 'no pre-vote',
    file: 'core/election.ts',
    find: 'if (!core.config.preVote) return',
    replace: 'if (core.term >= 0) return',
  },
  {
    name: 'a fresh leader protects from nothing',
    file: 'core/election.ts',
    find: 'if (message.term > core.term && !message.transfer && leaderIsFresh(core, now)) return;',
    replace: '',
  },
  {
    name: 'no check of the quorum by the leader',
    file: 'core/leadership.ts',
    find: 'id === core.config.id || core.peers.get(id)?.reachable === true',
    replace: 'id !== ""',
  },
  {
    name: 'transfer to one that has not caught up',
    file: 'core/transfer.ts',
    find: '|| core.peers.get(running.to)?.match !== core.log.lastIndex',
    replace: '',
  },
  {
    name: 'proposals taken during a transfer',
    file: 'core/core.ts',
    find: "if (core.transfer !== undefined) return refuse(core, 'UNAVAILABLE', 'leadership is being handed over');",
    replace: '',
  },
  {
    name: 'log and snapshot not reconciled at start',
    file: 'restore.ts',
    find: 'snapshot !== undefined && !agrees(log, snapshot)',
    replace: 'snapshot !== undefined && log.lastIndex < 0',
  },
  {
    name: 'messages leave before the write that they wait for',
    file: 'disk-queue.ts',
    find: 'const batch = fold(tasks);',
    replace:
      "const batch = fold(tasks); for (const task of tasks) if (task.kind === 'send') this.#listener.send(task.to, task.message);",
    grave: true,
  },
];

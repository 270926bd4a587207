import type { ServerId, TimeoutNowMessage } from '../types.ts';
import { campaign, mayCampaign } from './election.ts';
import { furthestVoter } from './configuration.ts';
import { patienceMs } from './patience.ts';
import { endTransfer } from './role.ts';
import type { Core } from './state.ts';
import { isVoter, refuse, send, servers } from './state.ts';

/**
 * Hands leadership over (thesis, 3.10): the target gets the rest of the log while no proposals are taken, then it is told
 * to campaign at once. Given up when that takes longer than a leader may be silent.
 */
export function transfer(core: Core, to: ServerId | undefined, now: number): void {
  if (core.role !== 'leader') return refuse(core, 'NOT_LEADER', 'this manager does not lead');
  if (core.transfer !== undefined) return refuse(core, 'CONFLICT', 'leadership is being handed over already');
  const target = to ?? furthestVoter(core)?.id;
  if (target === undefined) return refuse(core, 'UNAVAILABLE', 'no other manager is reachable');
  if (target === core.config.id) return refuse(core, 'ALREADY_EXISTS', 'this manager leads');
  if (!isVoter(core, target)) return refuse(core, 'NOT_FOUND', `"${target}" is no voting manager`);
  core.transfer = { to: target, deadlineMs: now + patienceMs(core, now), sent: false };
}

/** Tells the target to campaign once it has everything. */
export function continueTransfer(core: Core): void {
  const { transfer: running } = core;
  if (running === undefined || running.sent) return;
  const server = servers(core).find(({ id }) => id === running.to);
  if (server === undefined || core.peers.get(running.to)?.match !== core.log.lastIndex) return;
  running.sent = true;
  core.hasHandedOver = true;
  send(core, server, { kind: 'timeout-now' });
}

export function transferTick(core: Core, now: number): void {
  if (core.transfer !== undefined && now >= core.transfer.deadlineMs) endTransfer(core, false);
}

/** The leader asks this server to take over. */
export function onTimeoutNow(core: Core, message: TimeoutNowMessage, now: number): void {
  if (message.term !== core.term || core.role === 'leader') return;
  if (mayCampaign(core)) campaign(core, now, true);
}

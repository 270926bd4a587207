import { TsswarmError } from '../../../base/errors.ts';
import type { RebalanceResponse } from '../../../proto/types/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderTable } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { withNode } from '../nodes/with-node.ts';

export interface RebalanceOptions {
  readonly dryRun?: boolean;
  readonly format: string;
}

/** `tsswarm rebalance`: what moves, and what does not and why. Returns when it has begun. */
export function rebalance(
  place: NodePlace,
  services: readonly string[],
  { dryRun = false, format }: RebalanceOptions,
  terminal: Terminal,
): Promise<void> {
  if (format !== 'table' && format !== 'json')
    throw new TsswarmError('INVALID_INPUT', `rebalancing: --format is "${format}", expected table or json`);
  return withNode(place, async (node) => {
    const found = await node.control.rebalance({ services, dryRun });
    terminal.out(format === 'json' ? `${JSON.stringify(found, undefined, 2)}\n` : renderPlan(found, dryRun));
  });
}

/** What of all services is even is left out: it is as it should be. */
export function renderPlan({ moves, skipped }: RebalanceResponse, dryRun: boolean): string {
  const table =
    moves.length === 0
      ? ''
      : renderTable(
          ['SERVICE', 'CONTAINER', 'FROM', 'TO'],
          moves.map(({ service, task, from, to }) => [service, task, from, to]),
        );
  const stays = skipped.map(({ service, reason }) => `${service} stays as it is: ${reason}\n`).join('');
  const services = new Set(moves.map(({ service }) => service)).size;
  const count = `${moves.length} ${moves.length === 1 ? 'container' : 'containers'} of ${services} ${services === 1 ? 'service' : 'services'}`;
  const sum =
    moves.length === 0
      ? 'Nothing to move.\n'
      : dryRun
        ? `Would move ${count}.\n`
        : `Moving ${count}, as updates do; see "tsswarm ps".\n`;
  return `${table}${stays}${sum}`;
}

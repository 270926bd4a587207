import { TsswarmError } from '../../base/errors.ts';
import type {
  RebalanceMove,
  RebalanceRequest,
  RebalanceResponse,
  RebalanceSkip,
  Service,
} from '../../proto/types/index.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';
import { beginRebalance } from './begin.ts';
import { planRebalance } from './plan.ts';

/**
 * Moves tasks of services, or only says which it would.
 * @param now wall time, ms
 * @throws NOT_FOUND, INVALID_INPUT for a name that several services have
 */
export function rebalance(
  tx: WriteTransaction,
  { services: names, dryRun }: RebalanceRequest,
  now: number,
): RebalanceResponse {
  const services = names.length === 0 ? tx.list('service') : names.map((name) => find(tx, name));
  const moves: RebalanceMove[] = [];
  const skipped: RebalanceSkip[] = [];
  const hostname = (id: string): string => tx.get('node', id as never)?.description.hostname ?? id;
  for (const service of new Set(services)) {
    const plan = planRebalance(tx, service, now);
    if (plan.reason !== undefined) {
      skipped.push({ service: service.spec.name, reason: plan.reason });
      continue;
    }
    for (const { task, from, to } of plan.moves) {
      moves.push({
        service: service.spec.name,
        slot: task.slot,
        task: task.name,
        from: hostname(from),
        to: hostname(to),
      });
    }
    if (!dryRun) beginRebalance(tx, service, plan.moves, now);
  }
  return { moves, skipped };
}

function find(tx: ReadTransaction, name: string): Service {
  const [exact] = tx.find('service', 'name', name);
  if (exact !== undefined) return exact;
  const found = tx.list('service').filter(({ id, spec }) => spec.composeName === name || id === name);
  const [first] = found;
  if (first === undefined)
    throw new TsswarmError('NOT_FOUND', `rebalancing service "${name}": no such service`, {
      hint: 'see them with "tsswarm service ls"',
    });
  if (found.length > 1) {
    const all = found.map(({ spec }) => `"${spec.name}"`).join(', ');
    throw new TsswarmError(
      'INVALID_INPUT',
      `rebalancing service "${name}": several have that name, expected one of ${all}`,
    );
  }
  return first;
}

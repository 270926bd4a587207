import type { Service } from '../../../proto/types/index.ts';
import { demandWord, hasLabel, readFilters, some } from '../nodes/filters.ts';

const KEYS = ['id', 'label', 'mode', 'name'];
const MODES = ['replicated', 'global', 'replicated-job', 'global-job'];

/** Services that `--filter` lets through, as `docker service ls` has it. @throws INVALID_INPUT */
export function filterServices(services: readonly Service[], texts: readonly string[]): readonly Service[] {
  const filters = readFilters(texts, KEYS);
  demandWord(filters, 'mode', MODES);
  return services.filter(
    ({ id, spec }) =>
      some(filters, 'id', (value) => id.startsWith(value)) &&
      some(filters, 'name', (value) => spec.name.startsWith(value)) &&
      some(filters, 'mode', (value) => (spec.mode ?? 'replicated') === value) &&
      (filters.get('label') ?? []).every((label) => hasLabel(spec.labels, label)),
  );
}

import type { GenericResource } from '../../proto/types/index.ts';
import type { ComposeService } from '../types/project.ts';

type Reservations = NonNullable<NonNullable<ComposeService['deploy']>['resources']>['reservations'];

/** Kinds that nodes name themselves; a reserved device is one of the kind that its capability names. */
export function convertGeneric(reservations: Reservations): readonly GenericResource[] {
  return [
    ...(reservations?.generic_resources ?? []).map(({ discrete_resource_spec: { kind, value } }) => ({
      kind,
      count: value,
      names: [],
    })),
    ...(reservations?.devices ?? []).map(({ capabilities, count, device_ids: names = [] }) => ({
      kind: capabilities[0] ?? '',
      count: count ?? names.length,
      names,
    })),
  ];
}

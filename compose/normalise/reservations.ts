import { GENERIC_KIND } from '../../base/generic-resource.ts';
import type { ComposeDeploy } from '../types/project.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';
import { bytesField } from './units.ts';

type Reservations = NonNullable<NonNullable<ComposeDeploy['resources']>['reservations']>;

/** `deploy.resources.reservations`. @throws INVALID_COMPOSE or NOT_SUPPORTED with the place */
export function readReservations(reader: Reader): Reservations | undefined {
  if (!reader.exists) return undefined;
  const seen = new Set<string>();
  const once = (kind: string, at: Reader): string => {
    if (seen.has(kind)) at.refuse(undefined, `asks for "${kind}", which is asked for already`);
    seen.add(kind);
    return kind;
  };
  const generic = reader
    .at('generic_resources')
    .items()
    .map((item) => {
      const spec = item.at('discrete_resource_spec');
      const kind = spec.text('kind') ?? spec.refuse(undefined, 'has no "kind"', 'as kind: gpu, value: 2');
      const value = spec.integer('value') ?? spec.refuse(undefined, 'has no "value"', 'as kind: gpu, value: 2');
      if (value < 1) spec.refuse('value', `is ${value}, expected 1 or more`);
      return { discrete_resource_spec: { kind: once(demandKind(kind, spec, 'kind'), spec), value } };
    });
  const devices = reader
    .at('devices')
    .items()
    .map((item) => {
      for (const key of ['driver', 'options']) {
        if (item.at(key).exists) item.notYet(key, 'of a reserved device');
      }
      const capabilities = item.strings('capabilities') ?? [];
      const [kind] = capabilities;
      if (kind === undefined) return item.refuse(undefined, 'has no "capabilities"', 'as capabilities: [gpu]');
      if (capabilities.length > 1) item.notYet('capabilities', `with more than one word (${capabilities.join(', ')})`);
      const ids = item.strings('device_ids');
      const count = item.text('count');
      if (ids !== undefined && count !== undefined) item.refuse('device_ids', 'and "count" exclude each other');
      if (ids === undefined && (count === undefined || count === 'all'))
        item.notYet(count === undefined ? 'capabilities' : 'count', 'for all devices of a node (give a "count")');
      if (ids?.length === 0) item.refuse('device_ids', 'names none');
      if (ids !== undefined && new Set(ids).size < ids.length) item.refuse('device_ids', 'names one twice');
      const number = ids === undefined ? item.integer('count') : undefined;
      if (number !== undefined && number < 1) item.refuse('count', `is ${number}, expected 1 or more`);
      once(demandKind(kind, item, 'capabilities'), item);
      return compact({ capabilities, count: number, device_ids: ids });
    });
  return compact({
    cpus: reader.number('cpus'),
    memory: bytesField(reader, 'memory'),
    generic_resources: generic.length === 0 ? undefined : generic,
    devices: devices.length === 0 ? undefined : devices,
  }) as Reservations;
}

function demandKind(kind: string, reader: Reader, key: string): string {
  if (GENERIC_KIND.test(kind)) return kind;
  return reader.refuse(key, `is "${kind}", expected letters, digits, "_", "." and "-"`);
}

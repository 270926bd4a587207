import { TsswarmError } from '../../../base/errors.ts';
import type { ListObjectsResponse, Service } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';

/** What the cluster has of a project. */
export interface ExistingProject extends ListObjectsResponse {
  readonly name: string;
}

/**
 * Reads a project; one that was never brought up has nothing.
 * @param services compose names that must be among its services; empty: any
 * @throws NOT_FOUND naming the service that it does not have
 */
export async function readExisting(
  node: NodeClient,
  name: string,
  services: readonly string[],
): Promise<ExistingProject> {
  const objects = await node.control.listObjects({ project: name });
  for (const service of services) demandService(objects.services, service, name);
  return { ...objects, name };
}

/** The service of that name. @throws NOT_FOUND */
export function demandService(services: readonly Service[], name: string, project: string): Service {
  const service = services.find(({ spec }) => spec.composeName === name);
  if (service !== undefined) return service;
  throw new TsswarmError('NOT_FOUND', `finding service "${name}": project "${project}" has no such service running`, {
    hint:
      services.length === 0
        ? 'bring the project up with "tscompose up -d"'
        : `its services: ${services.map(({ spec }) => spec.composeName).join(', ')}`,
  });
}

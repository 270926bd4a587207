import { TsswarmError } from '../../../base/errors.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { clusterSettings } from '../cluster-settings.ts';
import type { ClusterSettingOptions } from '../cluster-settings.ts';
import { readExternalCas } from '../external-ca.ts';

export interface UpdateOptions extends ClusterSettingOptions {
  readonly externalCa?: readonly string[];
}

/** `tsswarm update`: changes settings of the cluster. */
export async function update(place: NodePlace, options: UpdateOptions, terminal: Terminal): Promise<void> {
  const cas = await readExternalCas(options.externalCa);
  const settings = { ...clusterSettings(options), ...(cas.length === 0 ? {} : { externalCas: { cas } }) };
  if (Object.keys(settings).length === 0)
    throw new TsswarmError('INVALID_INPUT', 'updating the cluster: no setting is given, expected at least one', {
      hint: 'see tsswarm update --help',
    });
  const node = await openNode(place);
  try {
    await node.membership.updateCluster(settings);
    terminal.out('Swarm updated.\n');
  } finally {
    node.close();
  }
}

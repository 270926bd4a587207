import { TsswarmError } from '../../../base/errors.ts';
import { systemRandom } from '../../../base/random.ts';
import { demandNoOwnState } from '../../../manager/cluster/own-state.ts';
import { newUnlockKey } from '../../../manager/raft/seal/index.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { changeKey, explainUnlockKey, isAutolocked, untilLocked } from '../autolock.ts';
import { clusterSettings } from '../cluster-settings.ts';
import type { ClusterSettingOptions } from '../cluster-settings.ts';
import { readExternalCas } from '../external-ca.ts';

export interface UpdateOptions extends ClusterSettingOptions {
  readonly autolock?: string;
  readonly externalCa?: readonly string[];
}

/** `tsswarm update`: changes settings of the cluster. */
export async function update(place: NodePlace, options: UpdateOptions, terminal: Terminal): Promise<void> {
  const cas = await readExternalCas(options.externalCa);
  const { autolock } = options;
  if (autolock !== undefined && autolock !== 'true' && autolock !== 'false')
    throw new TsswarmError('INVALID_INPUT', `using --autolock "${autolock}": expected true or false`, {
      hint: 'tsswarm update --autolock=true, or --autolock=false',
    });
  const autoLock = autolock === undefined ? undefined : autolock === 'true';
  const settings = {
    ...clusterSettings(options),
    ...(autoLock === undefined ? {} : { autoLock }),
    ...(cas.length === 0 ? {} : { externalCas: { cas } }),
  };
  if (Object.keys(settings).length === 0)
    throw new TsswarmError('INVALID_INPUT', 'updating the cluster: no setting is given, expected at least one', {
      hint: 'see tsswarm update --help',
    });
  const node = await openNode(place);
  try {
    // Before a key is shown that would lock nothing.
    if ((await node.daemon.status({})).store?.kind === 'etcd') demandNoOwnState(settings);
    if (autoLock === true && !(await isAutolocked(node))) {
      const unlockKey = newUnlockKey(systemRandom);
      terminal.out(`${explainUnlockKey(unlockKey)}\n`);
      await changeKey(node, { ...settings, unlockKey }, terminal);
    } else {
      await node.membership.updateCluster(settings);
      if (autoLock === false) await untilLocked(node, undefined);
    }
    terminal.out('Swarm updated.\n');
  } finally {
    node.close();
  }
}

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { connect } from '../../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import { membershipService } from '../../../proto/rpc/services.ts';
import { nodeCredentials } from '../../../proto/rpc/tls.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';
import { loadAccess, saveAccess } from './access-file.ts';
import type { BackEnd, BackEndOptions } from './back-end.ts';
import { openRaftBackEnd } from './raft.ts';

export interface OpenOptions extends BackEndOptions {
  /** The external store that the user has named now. */
  readonly named: EtcdAccess | undefined;
  /** Other managers, "host:port", for one that is new. */
  readonly managers: readonly string[];
}

/**
 * Opens the back end that the cluster has: a first manager's is the one that the user names, a new manager asks the others, and
 * everyone keeps to it from then on.
 */
export async function openBackEnd(options: OpenOptions): Promise<BackEnd> {
  const { dir, named, isFirst } = options;
  const kept = loadAccess(dir);
  const isOnRaft = kept === undefined && existsSync(join(dir, 'log.mdb'));
  if (named !== undefined && isOnRaft) {
    throw new TsswarmError('NOT_SUPPORTED', 'using --store: the managers of this cluster keep its state themselves', {
      hint: 'begin a new cluster to keep it in etcd: tsswarm leave, then tsswarm init --store',
    });
  }
  const learned =
    kept === undefined && named === undefined && !isOnRaft && !isFirst
      ? await askManagers(options.identity(), options.managers)
      : undefined;
  const access = named ?? kept ?? learned;
  if (access === undefined) return openRaftBackEnd(options);
  // Loaded only where it is used: it brings a client of etcd with it.
  const { openEtcdBackEnd } = await import('./etcd.ts');
  const wasMember = kept !== undefined;
  const backEnd = await openEtcdBackEnd({ ...options, access, wasMember, mayWait: wasMember && named === undefined });
  // A first manager that fails must leave nothing of a cluster behind.
  if (!isFirst) saveAccess(dir, access);
  return {
    ...backEnd,
    founded() {
      saveAccess(dir, access);
      backEnd.founded();
    },
  };
}

/** Asks one manager after the other where the state is kept. @throws the last failure */
async function askManagers(identity: LiveIdentity, managers: readonly string[]): Promise<EtcdAccess | undefined> {
  let failure: unknown = new TsswarmError('UNAVAILABLE', 'asking the managers for the store: the node knows of none');
  for (const manager of managers) {
    const connection = connect(manager, nodeCredentials(identity));
    try {
      return (await connection.service(membershipService).getStoreAccess({})).etcd;
    } catch (error) {
      // An older version knows of no other store.
      if (isTsswarmError(error, 'NOT_SUPPORTED')) return undefined;
      failure = error;
    } finally {
      connection.close();
    }
  }
  throw failure;
}

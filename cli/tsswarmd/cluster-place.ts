import type { NodeOverlay } from '../../proto/types/index.ts';
import { DEFAULT_KEY_INTERVAL_MS } from '../../worker/overlay/tunnels/rotation.ts';
import {
  DEFAULT_LISTEN,
  DEFAULT_PORT,
  completeAddress,
  dataPathAddress,
  listenAddressFor,
  ownAddress,
  reachableAddress,
  split,
} from './addresses.ts';
import { loadClusterPlace, saveClusterPlace } from './cluster-file.ts';
import type { DaemonFlags } from './flags.ts';

/** Where a node listens and is reached, and where it finds managers. */
export interface Place {
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  /** How other nodes reach the overlay networks here, as it is now; undefined: they do not. */
  readonly overlay: () => NodeOverlay | undefined;
  /** How long a key of encrypted networks is used, ms; 0: until somebody has it rotated. */
  readonly keyIntervalMs: number;
  /** Nobody chose the address: a node that is alone can do without it. */
  readonly mayGoUnheard: boolean;
  readonly managers: () => readonly string[];
  /** Keeps the managers' addresses, on disk too. */
  readonly learn: (addresses: readonly string[]) => void;
}

/** What the flags say, else what was kept, else what fits this machine. @throws INVALID_INPUT, CORRUPT */
export function clusterPlace(flags: DaemonFlags): Place {
  const { stateDir, listenAddr, advertiseAddr, dataPathAddr, keyIntervalMs } = flags;
  let kept = loadClusterPlace(stateDir);
  const chosen = {
    ...kept,
    ...(listenAddr === '' ? {} : { listenAddr: completeAddress(listenAddr, DEFAULT_PORT, '--listen-addr') }),
  };
  const { port } = split(chosen.listenAddr === '' ? DEFAULT_LISTEN : chosen.listenAddr);
  const wanted = advertiseAddr === '' ? chosen.advertiseAddr : completeAddress(advertiseAddr, port, '--advertise-addr');
  const reached = wanted === '' ? ownAddress(DEFAULT_LISTEN) : wanted;
  const listen = chosen.listenAddr === '' ? listenAddressFor(reached) : chosen.listenAddr;
  if (dataPathAddr !== '') dataPathAddress(dataPathAddr);
  const next = {
    ...chosen,
    advertiseAddr: wanted,
    ...(dataPathAddr === '' ? {} : { dataPathAddr }),
    ...(keyIntervalMs === undefined ? {} : { keyIntervalMs }),
  };
  if (JSON.stringify(next) !== JSON.stringify(kept)) saveClusterPlace(stateDir, next);
  kept = next;
  return {
    listenAddr: listen,
    advertiseAddr: wanted === '' ? ownAddress(listen) : wanted,
    keyIntervalMs: kept.keyIntervalMs ?? DEFAULT_KEY_INTERVAL_MS,
    mayGoUnheard: chosen.listenAddr === '' && wanted === '' && kept.managers.length <= 1,
    overlay() {
      const address =
        kept.dataPathAddr === ''
          ? reachableAddress(split(wanted === '' ? ownAddress(listen) : wanted).host)
          : dataPathAddress(kept.dataPathAddr);
      return address === undefined ? undefined : { address, port: 0 };
    },
    managers: () => kept.managers,
    learn(addresses) {
      if (addresses.length === 0 || addresses.join() === kept.managers.join()) return;
      kept = { ...kept, managers: addresses };
      saveClusterPlace(stateDir, kept);
    },
  };
}

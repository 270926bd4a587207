/** What kinds of networks there are and what each understands: the compose reader and the managers say no alike. */

/** What a driver takes. */
interface NetworkDriver {
  /** Keys of `driver_opts` (`--opt`). */
  readonly options: readonly string[];
  /** Whether its networks reach from node to node. */
  readonly scope: 'local' | 'swarm';
}

/** Bytes of the largest packet. */
export const MTU_OPTION = 'com.docker.network.driver.mtu';

/** Packets between nodes are encrypted. */
export const ENCRYPTED_OPTION = 'encrypted';

/** Docker's way: the option alone is enough. */
export const isEncrypted = (options: Readonly<Record<string, string>>): boolean =>
  options[ENCRYPTED_OPTION] !== undefined && options[ENCRYPTED_OPTION] !== 'false';

const DRIVERS: Readonly<Record<string, NetworkDriver>> = {
  bridge: { options: [MTU_OPTION], scope: 'local' },
  overlay: { options: [MTU_OPTION, ENCRYPTED_OPTION], scope: 'swarm' },
};

/** Of a network for which none is asked. */
export const DEFAULT_NETWORK_DRIVER = 'overlay';

/** "local": each node has a network of its own of that name; "swarm": one over all nodes. */
export const driverScope = (driver: string): 'local' | 'swarm' => DRIVERS[driver]?.scope ?? 'local';

/** Why there are no networks of a driver with such options, as the end of a sentence; undefined: there are. */
export function driverFault(
  driver: string,
  options: Readonly<Record<string, string>>,
): { readonly field: 'driver' | 'options'; readonly key: string; readonly reason: string } | undefined {
  const known = DRIVERS[driver];
  if (known === undefined) {
    const reason = `expected ${Object.keys(DRIVERS).join(', ')}`;
    return { field: 'driver', key: driver, reason: `is not supported, ${reason}` };
  }
  for (const [key, value] of Object.entries(options)) {
    const fault = known.options.includes(key) ? optionFault(key, value) : 'is not supported';
    if (fault !== undefined) return { field: 'options', key, reason: fault };
  }
  return undefined;
}

/** The smallest packet that every link must carry (RFC 791), and the largest that there can be. */
const LEAST_MTU = 68;
const MOST_MTU = 65_535;

function optionFault(key: string, value: string): string | undefined {
  if (key === ENCRYPTED_OPTION)
    return ['', 'true', 'false'].includes(value) ? undefined : `is "${value}", expected true or false`;
  if (key !== MTU_OPTION) return undefined;
  const mtu = Number(value);
  if (/^\d{1,5}$/.test(value) && mtu >= LEAST_MTU && mtu <= MOST_MTU) return undefined;
  return `is "${value}", expected ${LEAST_MTU} to ${MOST_MTU}`;
}

/** What kinds of networks there are and what each understands: the compose reader and the managers say no alike. */

/** The network of services of no project that name none. */
export const DEFAULT_NETWORK = 'bridge';

/** What a driver takes. */
interface NetworkDriver {
  /** Keys of `driver_opts` (`--opt`). */
  readonly options: readonly string[];
  /** Keys of those without which there is no such network. */
  readonly required?: readonly string[];
  /** Whether its networks reach from node to node. */
  readonly scope: 'local' | 'swarm';
}

/** Bytes of the largest packet. */
export const MTU_OPTION = 'com.docker.network.driver.mtu';

/** Packets between nodes are encrypted. */
export const ENCRYPTED_OPTION = 'encrypted';

/** The node's card that containers are on: "eth0", or "eth0.10" for VLAN 10 on it. */
export const PARENT_OPTION = 'parent';

/** Docker's way: the option alone is enough. */
export const isEncrypted = (options: Readonly<Record<string, string>>): boolean =>
  options[ENCRYPTED_OPTION] !== undefined && options[ENCRYPTED_OPTION] !== 'false';

const DRIVERS: Readonly<Record<string, NetworkDriver>> = {
  bridge: { options: [MTU_OPTION], scope: 'local' },
  overlay: { options: [MTU_OPTION, ENCRYPTED_OPTION], scope: 'swarm' },
  macvlan: { options: [MTU_OPTION, PARENT_OPTION, 'macvlan_mode'], required: [PARENT_OPTION], scope: 'local' },
  ipvlan: {
    options: [MTU_OPTION, PARENT_OPTION, 'ipvlan_mode', 'ipvlan_flag'],
    required: [PARENT_OPTION],
    scope: 'local',
  },
};

/** What kinds of values an option takes; the first is the default. */
const CHOICES = {
  macvlan_mode: ['bridge', 'private', 'vepa', 'passthru'],
  ipvlan_mode: ['l2', 'l3', 'l3s'],
  ipvlan_flag: ['bridge', 'private', 'vepa'],
} as const;

/** How containers are on a card of their node, without a bridge in between. */
export type DirectLink = { readonly parent: string } & (
  | { readonly driver: 'macvlan'; readonly mode: (typeof CHOICES.macvlan_mode)[number] }
  | {
      readonly driver: 'ipvlan';
      readonly mode: (typeof CHOICES.ipvlan_mode)[number];
      readonly flag: (typeof CHOICES.ipvlan_flag)[number];
    }
);

/** Of a network whose driver and options have been examined; undefined: its containers are on a bridge. */
export function directLink(driver: string, options: Readonly<Record<string, string>>): DirectLink | undefined {
  const parent = options[PARENT_OPTION] ?? '';
  const chosen = <K extends keyof typeof CHOICES>(key: K): (typeof CHOICES)[K][number] =>
    (CHOICES[key] as readonly (typeof CHOICES)[K][number][]).find((one) => one === options[key]) ?? CHOICES[key][0];
  if (driver === 'macvlan') return { driver, parent, mode: chosen('macvlan_mode') };
  if (driver === 'ipvlan') return { driver, parent, mode: chosen('ipvlan_mode'), flag: chosen('ipvlan_flag') };
  return undefined;
}

/** Whether containers of such networks are on a card of their node: there are no virtual addresses on it, and no ports are published. */
export const isDirect = (driver: string): boolean => directLink(driver, {}) !== undefined;

/** Every kernel that we run on has bridges and VXLAN; what else networks need it may lack. */
export const OPTIONAL_DRIVERS = ['macvlan', 'ipvlan'] as const;

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

/** The option that such a network needs and does not have; undefined: none. */
export function missingOption(driver: string, options: Readonly<Record<string, string>>): string | undefined {
  return DRIVERS[driver]?.required?.find((key) => (options[key] ?? '') === '');
}

/** The smallest packet that every link must carry (RFC 791), and the largest that there can be. */
const LEAST_MTU = 68;
const MOST_MTU = 65_535;

function optionFault(key: string, value: string): string | undefined {
  if (key === ENCRYPTED_OPTION)
    return ['', 'true', 'false'].includes(value) ? undefined : `is "${value}", expected true or false`;
  if (key === PARENT_OPTION) return parentFault(value);
  if (key in CHOICES) {
    const choices: readonly string[] = CHOICES[key as keyof typeof CHOICES];
    return choices.includes(value) ? undefined : `is "${value}", expected ${choices.join(', ')}`;
  }
  if (key !== MTU_OPTION) return undefined;
  const mtu = Number(value);
  if (/^\d{1,5}$/.test(value) && mtu >= LEAST_MTU && mtu <= MOST_MTU) return undefined;
  return `is "${value}", expected ${LEAST_MTU} to ${MOST_MTU}`;
}

const MOST_NAME_BYTES = 15;
const LAST_VLAN = 4094;

function parentFault(value: string): string | undefined {
  const isName = value !== '.' && value !== '..' && !/[\s/:]/.test(value) && value !== '';
  if (!isName || Buffer.byteLength(value) > MOST_NAME_BYTES)
    return `is "${value}", expected the name of an interface (at most ${MOST_NAME_BYTES} characters)`;
  const vlan = vlanOf(value);
  if (vlan === undefined || (vlan.id >= 1 && vlan.id <= LAST_VLAN)) return undefined;
  return `is "${value}": there is no VLAN ${vlan.id}, expected 1 to ${LAST_VLAN}`;
}

/** "eth0.10": VLAN 10 on "eth0"; undefined: the name says nothing of a VLAN. */
export function vlanOf(parent: string): { readonly card: string; readonly id: number } | undefined {
  const [, card, id] = /^(.+)\.(\d{1,5})$/.exec(parent) ?? [];
  return card === undefined ? undefined : { card, id: Number(id) };
}

/**
 * The address of a task that its published ports lead to: on its first network with a bridge; from its own node nobody reaches the others.
 * Undefined: it has none.
 */
export function portAddress<Id extends string, Address extends { readonly networkId: Id }>(
  { addresses }: { readonly addresses: readonly Address[] },
  driverOf: (network: Id) => string | undefined,
): Address | undefined {
  return addresses.find(({ networkId }) => !isDirect(driverOf(networkId) ?? ''));
}

/** The names that the resolver knows by itself, indexed for questions. Pure. */
import type { NetworkId } from '../../../base/ids.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';

export interface NetworkRecords {
  /** Name in lower case → IPv4 addresses of the endpoints that carry it. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  /** IPv4 address → container name. */
  readonly names: ReadonlyMap<string, string>;
}

export type Records = ReadonlyMap<NetworkId, NetworkRecords>;

/** Indexes endpoints: each answers to its container name and its aliases, on its network only. */
export function indexEndpoints(endpoints: readonly NetworkEndpoint[]): Records {
  const records = new Map<NetworkId, { addresses: Map<string, string[]>; names: Map<string, string> }>();
  for (const { networkId, name, aliases, ipv4 } of endpoints) {
    let network = records.get(networkId);
    if (!network) records.set(networkId, (network = { addresses: new Map(), names: new Map() }));
    network.names.set(ipv4, name);
    for (const key of new Set([name, ...aliases].map((text) => text.toLowerCase()))) {
      const addresses = network.addresses.get(key);
      if (addresses) addresses.push(ipv4);
      else network.addresses.set(key, [ipv4]);
    }
  }
  return records;
}

/** One network of a container that asks. */
export interface AskedNetwork {
  readonly id: NetworkId;
  /** "shop_default"; empty if unknown. */
  readonly name: string;
}

/**
 * The addresses of a name, as a container on `networks` sees it: from the first network that knows it. Understood are
 * `<name>`, `<name>.<network>` and swarm's `tasks.<service>`.
 * @returns undefined if no network knows the name
 */
export function addressesOf(
  records: Records,
  networks: readonly AskedNetwork[],
  name: string,
): readonly string[] | undefined {
  const wanted = name.toLowerCase().replace(/\.$/, '');
  for (const { id, name: network } of networks) {
    const known = records.get(id)?.addresses;
    const suffix = `.${network.toLowerCase()}`;
    const short = network !== '' && wanted.endsWith(suffix) ? wanted.slice(0, -suffix.length) : wanted;
    const found = known?.get(wanted) ?? known?.get(short) ?? known?.get(short.replace(/^tasks\./, ''));
    if (found) return found;
  }
  return undefined;
}

/** "5.0.128.10.in-addr.arpa" → "shop-web-1.shop_default", if the address is on one of the networks (RFC 1035, 3.5). */
export function nameOf(records: Records, networks: readonly AskedNetwork[], question: string): string | undefined {
  const [, ...octets] = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa\.?$/i.exec(question) ?? [];
  const ipv4 = octets.reverse().join('.');
  for (const { id, name: network } of networks) {
    const name = records.get(id)?.names.get(ipv4);
    if (name !== undefined) return network === '' ? name : `${name}.${network}`;
  }
  return undefined;
}

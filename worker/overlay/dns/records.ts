/**
 * The names that the resolver knows by itself. A change touches the names of what changed, whatever else there is; the lists of
 * addresses that are sent are made at the first question after a change of their name.
 */
import { ipBytes } from '../../../base/ip-address.ts';
import type { NetworkId, ServiceId } from '../../../base/ids.ts';
import type { NetworkEndpoint, ServiceAddress } from '../../../proto/types/index.ts';

/** What has changed of the names. */
export interface NameChange {
  /** All that was known before is forgotten. */
  readonly complete?: boolean;
  /** New, or instead of what had their key. */
  readonly endpoints?: readonly NetworkEndpoint[];
  readonly services?: readonly ServiceAddress[];
  /** Keys of endpoints that are gone, "<taskId>/<networkId>". */
  readonly removedEndpoints?: readonly string[];
  /** Keys of service addresses that are gone, "<serviceId>/<networkId>". */
  readonly removedServices?: readonly string[];
}

/** Addresses as they stand in packets. */
export interface AddressList {
  readonly ipv4: readonly Buffer[];
  readonly ipv6: readonly Buffer[];
}

/** One network of a container that asks. */
export interface AskedNetwork {
  readonly id: NetworkId;
  /** "shop_default"; empty if unknown. */
  readonly name: string;
}

/** What a name stands for on a network. */
export interface KnownName {
  readonly network: AskedNetwork;
  /** What its addresses are: virtual ones of services, else those of the endpoints. */
  addresses(): AddressList;
  /** Some of them are virtual. */
  readonly isVirtual: boolean;
  /** Every endpoint behind it. */
  endpoints(): Iterable<NetworkEndpoint>;
}

/** All that carries one name on one network. */
class Bearers {
  readonly endpoints = new Map<string, NetworkEndpoint>();
  readonly services = new Map<string, ServiceAddress>();
  #lead: AddressList | undefined;
  #all: AddressList | undefined;

  changed(): void {
    this.#lead = undefined;
    this.#all = undefined;
  }

  /** Where the name leads: the virtual addresses, and the endpoints of services that have none under this name. */
  lead(): AddressList {
    if (this.#lead) return this.#lead;
    if (this.services.size === 0) return (this.#lead = this.all());
    const virtual = new Set<ServiceId>([...this.services.values()].map(({ serviceId }) => serviceId));
    const direct = [...this.endpoints.values()].filter(({ serviceId }) => !virtual.has(serviceId));
    return (this.#lead = addressList([...this.services.values(), ...direct]));
  }

  all(): AddressList {
    return (this.#all ??= addressList([...this.endpoints.values()]));
  }
}

function addressList(holders: readonly { readonly ipv4: string; readonly ipv6?: string }[]): AddressList {
  return {
    ipv4: holders.flatMap(({ ipv4 }) => (ipv4 === '' ? [] : [ipBytes(ipv4)])),
    ipv6: holders.flatMap(({ ipv6 }) => (ipv6 === undefined ? [] : [ipBytes(ipv6)])),
  };
}

type Holder = NetworkEndpoint | ServiceAddress;

interface NetworkNames {
  /** By name in lower case. */
  readonly names: Map<string, Bearers>;
  /** Who has an address, by its bytes as latin1 text. */
  readonly owners: Map<string, Holder>;
}

/** The names of all networks of a node. */
export class Records {
  readonly #networks = new Map<NetworkId, NetworkNames>();
  readonly #endpoints = new Map<string, NetworkEndpoint>();
  readonly #services = new Map<string, ServiceAddress>();

  change({ complete, endpoints = [], services = [], removedEndpoints = [], removedServices = [] }: NameChange): void {
    if (complete === true) {
      this.#networks.clear();
      this.#endpoints.clear();
      this.#services.clear();
    }
    for (const key of removedEndpoints) this.#dropEndpoint(key);
    for (const key of removedServices) this.#dropService(key);
    for (const endpoint of endpoints) {
      const key = `${endpoint.taskId}/${endpoint.networkId}`;
      this.#dropEndpoint(key);
      this.#endpoints.set(key, endpoint);
      for (const name of namesOf(endpoint)) this.#bearers(endpoint.networkId, name).endpoints.set(key, endpoint);
      this.#own(endpoint);
    }
    for (const service of services) {
      const key = `${service.serviceId}/${service.networkId}`;
      this.#dropService(key);
      this.#services.set(key, service);
      for (const name of service.names) this.#bearers(service.networkId, name.toLowerCase()).services.set(key, service);
      this.#own(service);
    }
  }

  /**
   * A name, as a container on `networks` sees it: from the first network that knows it as it stands, else from the first that
   * knows it without the network's own name behind it. Before it may stand "tasks.": all tasks, past any virtual address.
   * @returns undefined if no network knows it
   */
  find(networks: readonly AskedNetwork[], name: string): KnownName | undefined {
    for (const network of networks) {
      const found = this.#findOn(network, name);
      if (found) return found;
    }
    if (!name.includes('.')) return undefined;
    for (const network of networks) {
      const suffix = `.${network.name.toLowerCase()}`;
      if (network.name === '' || !name.endsWith(suffix)) continue;
      const found = this.#findOn(network, name.slice(0, -suffix.length));
      if (found) return found;
    }
    return undefined;
  }

  /** "shop-web-1.shop_default" for the bytes of an address on one of the networks. */
  owner(networks: readonly AskedNetwork[], address: Buffer): string | undefined {
    const key = address.toString('latin1');
    for (const { id, name: network } of networks) {
      const holder = this.#networks.get(id)?.owners.get(key);
      const name = holder && ('name' in holder ? holder.name : holder.names[0]);
      if (name !== undefined) return network === '' ? name : `${name}.${network}`;
    }
    return undefined;
  }

  #findOn(network: AskedNetwork, name: string): KnownName | undefined {
    const names = this.#networks.get(network.id)?.names;
    const bearers = names?.get(name);
    if (bearers)
      return {
        network,
        isVirtual: bearers.services.size > 0,
        addresses: () => bearers.lead(),
        endpoints: () => bearers.endpoints.values(),
      };
    if (!name.startsWith(ALL_TASKS)) return undefined;
    const service = names?.get(name.slice(ALL_TASKS.length));
    return (
      service && {
        network,
        isVirtual: false,
        addresses: () => service.all(),
        endpoints: () => service.endpoints.values(),
      }
    );
  }

  #network(id: NetworkId): NetworkNames {
    let network = this.#networks.get(id);
    if (!network) this.#networks.set(id, (network = { names: new Map(), owners: new Map() }));
    return network;
  }

  /** Of a name that is about to change. */
  #bearers(id: NetworkId, name: string): Bearers {
    const { names } = this.#network(id);
    let bearers = names.get(name);
    if (!bearers) names.set(name, (bearers = new Bearers()));
    bearers.changed();
    return bearers;
  }

  #own(holder: Holder): void {
    const { owners } = this.#network(holder.networkId);
    for (const key of addressKeys(holder)) owners.set(key, holder);
  }

  #disown(holder: Holder): void {
    const owners = this.#networks.get(holder.networkId)?.owners;
    // Somebody else may have the address by now.
    for (const key of addressKeys(holder)) if (owners?.get(key) === holder) owners.delete(key);
  }

  #dropEndpoint(key: string): void {
    const endpoint = this.#endpoints.get(key);
    if (!endpoint) return;
    this.#endpoints.delete(key);
    for (const name of namesOf(endpoint)) {
      const bearers = this.#bearers(endpoint.networkId, name);
      bearers.endpoints.delete(key);
      this.#forgetIfEmpty(endpoint.networkId, name, bearers);
    }
    this.#disown(endpoint);
  }

  #dropService(key: string): void {
    const service = this.#services.get(key);
    if (!service) return;
    this.#services.delete(key);
    for (const name of service.names.map((text) => text.toLowerCase())) {
      const bearers = this.#bearers(service.networkId, name);
      bearers.services.delete(key);
      this.#forgetIfEmpty(service.networkId, name, bearers);
    }
    this.#disown(service);
  }

  #forgetIfEmpty(id: NetworkId, name: string, { endpoints, services }: Bearers): void {
    if (endpoints.size + services.size === 0) this.#networks.get(id)?.names.delete(name);
  }
}

const ALL_TASKS = 'tasks.';

function addressKeys({ ipv4, ipv6 }: Holder): readonly string[] {
  const { ipv4: four, ipv6: six } = addressList([{ ipv4, ...(ipv6 === undefined ? {} : { ipv6 }) }]);
  return [...four, ...six].map((bytes) => bytes.toString('latin1'));
}

function namesOf({ name, aliases }: NetworkEndpoint): ReadonlySet<string> {
  return new Set([name, ...aliases].map((text) => text.toLowerCase()));
}

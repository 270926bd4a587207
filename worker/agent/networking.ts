import type { ContainerId, NetworkId } from '../../base/ids.ts';
import type { NetworkEndpoint, ServiceAddress } from '../../proto/types/index.ts';
import type { Assignments } from './assignments.ts';
import type { BalancedAddress } from './balanced.ts';

/** The names that containers can resolve: worker/overlay/dns in production. */
export interface Resolver {
  changeNames(change: {
    /** All that was known before is forgotten. */
    readonly complete?: boolean;
    readonly endpoints?: readonly NetworkEndpoint[];
    readonly services?: readonly ServiceAddress[];
    /** Keys as in AssignmentChange. */
    readonly removedEndpoints?: readonly string[];
    readonly removedServices?: readonly string[];
  }): void;
  attach(request: {
    readonly containerId: ContainerId;
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
    readonly dns: readonly string[];
    readonly links?: readonly { readonly service: string; readonly alias: string }[];
    readonly running?: boolean;
  }): Promise<void>;
  detach(containerId: ContainerId): Promise<void>;
}

/** The way to other nodes on overlay networks: worker/overlay/tunnels in production. */
export interface Overlay {
  /** @param isCertain a manager has said so since the daemon started */
  update(view: Pick<Assignments, 'networks' | 'locations' | 'peers' | 'ingress'>, isCertain: boolean): void;
  /** Resolves when what it was told last is true, or could not be made so; undefined: nothing is under way. */
  settled(): Promise<void> | undefined;
  /** The bridge is there: resolves when everybody on the network is reached. */
  connect(id: NetworkId): Promise<void>;
  /** The bridge is about to go. */
  disconnect(id: NetworkId): Promise<void>;
}

/** The virtual addresses that containers reach: worker/overlay/balance in production. */
export interface Balancer {
  setAddresses(addresses: readonly BalancedAddress[]): void;
  settled(): Promise<boolean>;
  attach(request: {
    readonly containerId: ContainerId;
    readonly netnsPath: string;
    readonly networks: readonly NetworkId[];
    /** Nothing has run in it yet. */
    readonly fresh: boolean;
    readonly running?: boolean;
  }): Promise<void>;
  detach(containerId: ContainerId): void;
}

/** Names of interfaces. The kernel allows 15 characters; what does not fit stands in the link's alias. */
import { createHash } from 'node:crypto';
import type { ContainerId, NetworkId } from '../../base/ids.ts';
import type { TunnelId } from '../types.ts';

/** "ts-4mk3v9q2x1": the bridge of a network. */
export function bridgeName(id: NetworkId): string {
  return `ts-${id.slice(0, 10)}`;
}

/** "tsx-4mk3v9q2x1": the tunnel of an overlay network, a port of its bridge. */
export function tunnelName(id: NetworkId): string {
  return `tsx-${id.slice(0, 10)}`;
}

/** The tunnel that leads published ports from node to node. */
export const MESH_NAME = 'ts-mesh';

/** Addresses of nodes in it. */
export const MESH_SUBNET = '169.254.192.0/18';

/** The tunnel that is there while the way to other nodes is tried. */
export const PROBE_NAME = 'ts-probe';

/** UDP port in that tunnel: who looks for faults sends packets from node to node there. */
export const ECHO_PORT = 4791;

/** The node's end of a container's interface eth`ordinal`. */
export function vethName(id: ContainerId, ordinal: number): string {
  const hash = BigInt(`0x${createHash('sha256').update(id).digest('hex').slice(0, 15)}`);
  return `tsv${hash.toString(36).padStart(10, '0').slice(-10)}${ordinal.toString(36)}`;
}

/** Whether a name is that of the node's end of one of a container's interfaces. */
export const isVethOf = (id: ContainerId, name: string): boolean => name.startsWith(vethName(id, 0).slice(0, -1));

export interface BridgeAlias {
  readonly instance: string;
  readonly networkId: NetworkId;
  readonly internal: boolean;
}

/** What a bridge is, written on it: so a daemon that starts again knows its own from the kernel alone. */
export function formatAlias({ instance, networkId, internal }: BridgeAlias): string {
  return `tsswarm ${instance} ${networkId} ${internal ? 'internal' : 'outgoing'}`;
}

/** Undefined if the link is not one of ours. */
export function parseAlias(alias: string): BridgeAlias | undefined {
  const [, instance, networkId, kind] = /^tsswarm (\S+) (\S+) (internal|outgoing)$/.exec(alias) ?? [];
  if (instance === undefined || networkId === undefined) return undefined;
  return { instance, networkId: networkId as NetworkId, internal: kind === 'internal' };
}

/** What a tunnel is, written on it: whose, and of which network; else the mesh or the probe. */
export function formatTunnelAlias(instance: string, id: TunnelId): string {
  return `tsswarm ${instance} ${id} tunnel`;
}

/** Undefined if the link is no tunnel of ours. */
export function parseTunnelAlias(alias: string): { readonly instance: string; readonly id: TunnelId } | undefined {
  const [, instance, id] = /^tsswarm (\S+) (\S+) tunnel$/.exec(alias) ?? [];
  return instance === undefined || id === undefined ? undefined : { instance, id: id as TunnelId };
}

/** What a VLAN is that was made for a network, written on it. */
export function formatParentAlias(instance: string, id: NetworkId): string {
  return `tsswarm ${instance} ${id} parent`;
}

/** Undefined if the link is no VLAN of ours. */
export function parseParentAlias(
  alias: string,
): { readonly instance: string; readonly networkId: NetworkId } | undefined {
  const [, instance, id] = /^tsswarm (\S+) (\S+) parent$/.exec(alias) ?? [];
  return instance === undefined || id === undefined ? undefined : { instance, networkId: id as NetworkId };
}

/** Whose a link of the encrypted way is, and when its key was made (ms), written on it. */
export function formatSecureAlias(instance: string, madeAt: number): string {
  return `tsswarm ${instance} key ${madeAt}`;
}

/** When the key was made; undefined if nobody has written it there. */
export function parseSecureAlias(alias: string): number | undefined {
  const [, madeAt] = /^tsswarm \S+ key (\d{1,15})$/.exec(alias) ?? [];
  return madeAt === undefined ? undefined : Number(madeAt);
}

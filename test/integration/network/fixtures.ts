import type {
  BridgeRequest,
  ContainerId,
  NetworkId,
  PortForward,
  SandboxInterface,
} from '../../../node-engine/types.ts';

/** Networks, addresses and ports of the tests. */
export const FRONT: BridgeRequest = {
  id: 'frontnetworkid00000000000' as NetworkId,
  name: 'shop_front',
  subnet: '10.128.1.0/24',
  gateway: '10.128.1.1',
  internal: false,
  mtu: 0,
};
export const BACK: BridgeRequest = {
  ...FRONT,
  id: 'backnetworkid000000000000' as NetworkId,
  name: 'shop_back',
  subnet: '10.128.2.0/24',
  gateway: '10.128.2.1',
};
export const INNER: BridgeRequest = {
  ...FRONT,
  id: 'innernetworkid00000000000' as NetworkId,
  name: 'shop_inner',
  subnet: '10.128.3.0/24',
  gateway: '10.128.3.1',
  internal: true,
};

/** An interface on a network, with the address that ends in `host`. */
export function on(network: BridgeRequest, host: number): SandboxInterface {
  return {
    networkId: network.id,
    ipv4: network.gateway.replace(/1$/, String(host)),
    prefix: 24,
    gateway: network.internal ? '' : network.gateway,
  };
}

/** 64 times the same digit. */
export function containerId(digit: string): ContainerId {
  return digit.repeat(64) as ContainerId;
}

/** A TCP port on all addresses. */
export function tcp(port: number, ...backends: readonly [string, number][]): PortForward {
  return { protocol: 'tcp', hostIp: '', port, backends: backends.map(([ipv4, port]) => ({ ipv4, port })) };
}

/** Child process of the tests: networking and resolver of one node, in the network namespace that it was started in. */
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import { jsonLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { createNamespaceGuard, createNetworks } from '../../../node-engine/network/index.ts';
import type {
  BridgeRequest,
  ContainerId,
  GuardedPort,
  NetworkId,
  PortForward,
  SandboxRequest,
  SecureRequest,
  SecureSlot,
  TunnelChange,
  TunnelId,
  TunnelRequest,
} from '../../../node-engine/types.ts';
import type { NameChange, ResolverAttachment } from '../../../worker/overlay/dns/index.ts';
import { createResolver } from '../../../worker/overlay/dns/index.ts';

const [, , directory = '', instance = ''] = process.argv;
const log: string[] = [];
const logger = jsonLogger((line) => log.push(line), Date.now);
const { networks, sandboxes, tunnels, close } = createNetworks({
  netnsDirectory: join(directory, 'netns'),
  relayDirectory: join(directory, 'relay'),
  instance,
  logger,
});
const names = new Map<NetworkId, string>();
const resolver = createResolver({
  clock: systemClock,
  random: systemRandom,
  networkName: (id) => names.get(id),
  resolvConf: join(directory, 'resolv.conf'),
  guard: createNamespaceGuard(logger),
});

/** What the tests may ask for. */
export const METHODS = {
  ensureBridge: (request: BridgeRequest) => {
    names.set(request.id, request.name);
    return networks.ensureBridge(request);
  },
  removeBridge: (id: NetworkId) => networks.removeBridge(id),
  listBridges: () => networks.listBridges(),
  optionalDrivers: () => networks.optionalDrivers?.() ?? Promise.resolve([]),
  guardPorts: (ports: readonly GuardedPort[]) => networks.guardPorts(ports),
  setPorts: (forwards: readonly PortForward[]) => networks.setPorts(forwards),
  createSandbox: (id: ContainerId, request: SandboxRequest) => sandboxes.create(id, request),
  removeSandbox: (id: ContainerId) => sandboxes.remove(id),
  listSandboxes: () => sandboxes.list(),
  ensureTunnel: (request: TunnelRequest) => tunnels.ensure(request),
  changeTunnel: (id: TunnelId, change: TunnelChange) => tunnels.change(id, change),
  removeTunnel: (id: TunnelId) => tunnels.remove(id),
  secureKeys: () => Promise.resolve(tunnels.secure.keys()),
  addSecureKey: (slot: SecureSlot) => Promise.resolve(tunnels.secure.addKey(slot, Date.now())),
  ensureSecure: (request: SecureRequest) => tunnels.secure.ensure(request),
  secureSessions: () => tunnels.secure.sessions(),
  removeSecure: (slot?: SecureSlot) => tunnels.secure.remove(slot),
  close,
  /** Lines of the log so far. */
  log: () => Promise.resolve(log),
  changeNames: (change: NameChange) => Promise.resolve(resolver.changeNames(change)),
  attach: (attachment: ResolverAttachment) => resolver.attach(attachment),
  detach: (id: ContainerId) => resolver.detach(id),
} as const;

interface Call {
  readonly number: number;
  readonly method: keyof typeof METHODS;
  readonly args: readonly never[];
}

process.on('message', ({ number, method, args }: Call) => {
  const run = METHODS[method] as (...args: readonly never[]) => Promise<unknown>;
  run(...args).then(
    (value) => process.send?.({ number, value }),
    (error: Error & { code?: string; hint?: string }) =>
      process.send?.({ number, error: { message: error.message, code: error.code, hint: error.hint } }),
  );
});

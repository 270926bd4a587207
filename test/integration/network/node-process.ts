/** Child process of the tests: the networking of one node, in the network namespace that it was started in. */
import { createNetworks } from '../../../node-engine/network/index.ts';
import type { BridgeRequest, ContainerId, NetworkId, PortForward, SandboxRequest } from '../../../node-engine/types.ts';

const [, , netnsDirectory = '', instance = ''] = process.argv;
const { networks, sandboxes } = createNetworks({ netnsDirectory, instance });

/** What the tests may ask for. */
export const METHODS = {
  ensureBridge: (request: BridgeRequest) => networks.ensureBridge(request),
  removeBridge: (id: NetworkId) => networks.removeBridge(id),
  listBridges: () => networks.listBridges(),
  setPorts: (forwards: readonly PortForward[]) => networks.setPorts(forwards),
  createSandbox: (id: ContainerId, request: SandboxRequest) => sandboxes.create(id, request),
  removeSandbox: (id: ContainerId) => sandboxes.remove(id),
  listSandboxes: () => sandboxes.list(),
  /** Calls another method for each list of arguments, all at once, and says how many milliseconds it took. */
  timed: async (method: 'setPorts' | 'createSandbox' | 'ensureBridge', calls: readonly (readonly never[])[]) => {
    const start = performance.now();
    const run = METHODS[method] as (...args: readonly never[]) => Promise<unknown>;
    await Promise.all(calls.map((args) => run(...args)));
    return performance.now() - start;
  },
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

import assert from 'node:assert/strict';
import type { NetworkId, NodeId, TaskId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import type { TunnelEntry, TunnelId, Tunnels } from '../../../node-engine/types.ts';
import type { NodeOverlay } from '../../../proto/types/index.ts';
import { network } from '../../../test/builders/objects.ts';
import { networkSpec } from '../../../test/builders/specs.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { createOverlay } from './index.ts';
import type { OverlayView } from './plan.ts';

const NET = 'network-a' as NetworkId;

/** A kernel whose tunnels are a map, and which may refuse. */
function machine(publicKey?: string) {
  const tunnels = new Map<TunnelId, Map<string, TunnelEntry>>();
  const log: string[] = [];
  const state = { refusal: undefined as Error | undefined };
  const kernel: Tunnels = {
    list: () => Promise.resolve([...tunnels].map(([id, entries]) => ({ id, entries: [...entries.values()] }))),
    ensure({ id }) {
      log.push(`ensure ${id}`);
      if (state.refusal !== undefined) return Promise.reject(state.refusal);
      const isNew = !tunnels.has(id);
      if (isNew) tunnels.set(id, new Map());
      return Promise.resolve({ isNew });
    },
    change(id, { remove, put }) {
      log.push(`change ${id} -${remove.length} +${put.length}`);
      for (const { ipv4 } of remove) tunnels.get(id)?.delete(ipv4);
      for (const entry of put) tunnels.get(id)?.set(entry.ipv4, entry);
      return Promise.resolve();
    },
    remove(id) {
      log.push(`remove ${id}`);
      tunnels.delete(id);
      return Promise.resolve();
    },
    secure: {
      recover: () => Promise.resolve(),
      keys: () => (publicKey === undefined ? [] : [{ slot: 'main', publicKey, madeAt: 0 }]),
      addKey: () => undefined,
      isThere: () => Promise.resolve(false),
      ensure: () => Promise.resolve({ isNew: true }),
      sessions: () => Promise.resolve([]),
      remove: () => Promise.resolve(),
    },
  };
  return { tunnels, log, state, kernel };
}

const view = (addresses: readonly string[], options: Record<string, string> = {}): OverlayView => ({
  networks: new Map([[NET, network('a', { spec: { ...networkSpec('a'), driver: 'overlay', options }, vni: 5000 })]]),
  locations: new Map(
    addresses.map((ipv4) => [
      ipv4,
      { taskId: ipv4 as TaskId, networkId: NET, nodeId: 'n2' as NodeId, ipv4, macAddress: `02:${ipv4.slice(-2)}` },
    ]),
  ),
  peers: new Map(
    ['n1', 'n2'].map((id) => [id, { nodeId: id as NodeId, overlay: { address: `192.0.2.${id[1]}`, port: 4789 } }]),
  ),
  ingress: new Map(),
});

function start(kernel: Tunnels, clock = new VirtualClock(), overlay?: NodeOverlay) {
  return createOverlay({
    nodeId: 'n1' as NodeId,
    tunnels: kernel,
    listBridges: () => Promise.resolve([]),
    overlay: () => overlay,
    keyIntervalMs: 0,
    clock,
    logger: silentLogger,
  });
}
const REACHED: NodeOverlay = { address: '192.0.2.1', port: 0 };

describe('the overlay networks of a node', () => {
  it('are connected when the bridge is there, and follow what is told', async () => {
    const { kernel, log, tunnels } = machine();
    const overlay = start(kernel, undefined, REACHED);
    overlay.update(view(['10.0.0.11']), true);
    await overlay.connect(NET);
    assert.deepEqual(log, [`ensure ${NET}`, `change ${NET} -0 +1`]);
    overlay.update(view(['10.0.0.12', '10.0.0.13']), true);
    await overlay.connect(NET);
    assert.deepEqual(log.slice(2), [`change ${NET} -1 +2`]);
    await overlay.disconnect(NET);
    assert.equal(tunnels.size, 0);
    await overlay.close();
  });

  it('take nothing away on what was kept from before, and mend when a manager has said so', async () => {
    const { kernel, tunnels } = machine();
    const first = start(kernel, undefined, REACHED);
    first.update(view(['10.0.0.11', '10.0.0.12']), true);
    await first.connect(NET);
    await first.close();

    const second = start(kernel, undefined, REACHED);
    second.update(view(['10.0.0.11', '10.0.0.13']), false);
    await second.connect(NET);
    assert.deepEqual([...(tunnels.get(NET)?.keys() ?? [])], ['10.0.0.11', '10.0.0.12', '10.0.0.13']);
    second.update(view(['10.0.0.11', '10.0.0.13']), true);
    await second.connect(NET);
    assert.deepEqual([...(tunnels.get(NET)?.keys() ?? [])], ['10.0.0.11', '10.0.0.13']);
    await second.close();
  });

  it('say why they are not there, and are tried again', async () => {
    const { kernel, state, tunnels } = machine();
    const clock = new VirtualClock();
    const overlay = start(kernel, clock, REACHED);
    state.refusal = new Error('somebody else has the identifier');
    overlay.update(view(['10.0.0.11']), true);
    await assert.rejects(overlay.connect(NET), /somebody else has the identifier/);
    state.refusal = undefined;
    await clock.advance(2000);
    await overlay.connect(NET);
    assert.equal(tunnels.get(NET)?.size, 1);
    await overlay.close();
  });

  it('are refused where others cannot be reached, or where they are encrypted and the node cannot', async () => {
    const { kernel } = machine();
    const alone = start(kernel);
    alone.update(view(['10.0.0.11']), true);
    await assert.rejects(alone.connect(NET), { code: 'NOT_SUPPORTED', message: /this node has no address/ });
    await alone.close();
    const open = start(kernel, undefined, REACHED);
    open.update(view([], { encrypted: '' }), true);
    await assert.rejects(open.connect(NET), { code: 'NOT_SUPPORTED', message: /this node has no WireGuard/ });
    await open.close();
  });
});

import assert from 'node:assert/strict';
import type { NetworkId, NodeId, TaskId } from '../../../base/ids.ts';
import type { TunnelEntry, TunnelId } from '../../../node-engine/types.ts';
import type { OverlayLocation, OverlayPeer } from '../../../proto/types/index.ts';
import { network } from '../../../test/builders/objects.ts';
import { networkSpec } from '../../../test/builders/specs.ts';
import type { KnownTunnel, OverlaySelf, OverlayView } from './plan.ts';
import { additionTo, changeOf, planTunnels, wantedTunnels } from './plan.ts';

const SELF = 'n1' as NodeId;
const NET = 'network-a' as NetworkId;
const self: OverlaySelf = {
  nodeId: SELF,
  overlay: { address: '192.0.2.1', port: 0 },
  bridges: new Set([NET]),
};
const peer = (id: string, address: string, meshAddress?: string): OverlayPeer => ({
  nodeId: id as NodeId,
  overlay: { address, port: 4790 },
  ...(meshAddress === undefined ? {} : { meshAddress }),
});
const at = (nodeId: string, ipv4: string, change: Partial<OverlayLocation> = {}): OverlayLocation => ({
  taskId: `t${ipv4}` as TaskId,
  networkId: NET,
  nodeId: nodeId as NodeId,
  ipv4,
  ...change,
});
const view = (locations: readonly OverlayLocation[], peers: readonly OverlayPeer[]): OverlayView => ({
  networks: new Map([[NET, network('a', { spec: { ...networkSpec('a'), driver: 'overlay' }, vni: 5000 })]]),
  locations: new Map(locations.map((location) => [location.taskId, location])),
  peers: new Map(peers.map((one) => [one.nodeId, one])),
  ingress: new Map(),
});
const TWO = [peer('n1', '192.0.2.1'), peer('n2', '192.0.2.2')];

describe('the tunnels of a node', () => {
  it('are made for networks that others are on, with an entry for each of their addresses', () => {
    const wanted = wantedTunnels(view([at('n1', '10.0.0.2'), at('n2', '10.0.0.3')], TWO), self, new Map());
    const tunnel = wanted.get(NET);
    assert.deepEqual([...wanted.keys()], [NET]);
    assert.deepEqual(tunnel?.request, { id: NET, name: 'app_a', vni: 5000, port: 4790, local: '192.0.2.1' });
    assert.deepEqual(
      [...(tunnel?.entries.values() ?? [])],
      [{ ipv4: '10.0.0.3', mac: '02:42:0a:00:00:03', peer: '192.0.2.2' }],
    );
  });

  it('are not made where nobody else is, without a bridge, or without an address; one that is there stays', () => {
    const alone = view([at('n1', '10.0.0.2')], TWO);
    assert.equal(wantedTunnels(alone, self, new Map()).size, 0);
    assert.equal(wantedTunnels(alone, self, new Map([[NET, {}]])).size, 1);
    const split = view([at('n2', '10.0.0.3')], TWO);
    assert.equal(wantedTunnels(split, { ...self, bridges: new Set() }, new Map()).size, 0);
    assert.equal(wantedTunnels(split, { ...self, overlay: undefined }, new Map()).size, 0);
  });

  it('lead to everybody in the mesh while ports are published', () => {
    const peers = [peer('n1', '192.0.2.1', '169.254.192.1'), peer('n2', '192.0.2.2', '169.254.192.2')];
    assert.equal(wantedTunnels(view([], peers), self, new Map()).size, 0);
    const mesh = wantedTunnels({ ...view([], peers), ingress: { size: 1 } }, self, new Map()).get('mesh');
    assert.equal(mesh?.request.address, '169.254.192.1/18');
    assert.deepEqual(
      [...mesh.entries.values()],
      [{ ipv4: '169.254.192.2', ipv6: 'fd74:7373:6d65:7368::a9fe:c002', mac: '02:42:a9:fe:c0:02', peer: '192.0.2.2' }],
    );
  });

  it('are left alone where nothing changes, also when everything is told again', () => {
    const wanted = wantedTunnels(view([at('n2', '10.0.0.3')], TWO), self, new Map());
    const known = new Map<TunnelId, KnownTunnel>([...wanted]);
    const again = wantedTunnels(view([at('n2', '10.0.0.3')], TWO), self, known);
    assert.deepEqual(planTunnels(known, again), []);
  });

  it('change in what has changed only', () => {
    const before = wantedTunnels(view([at('n2', '10.0.0.3'), at('n2', '10.0.0.4')], TWO), self, new Map());
    const moved = [...TWO, peer('n3', '192.0.2.3')];
    const after = wantedTunnels(view([at('n3', '10.0.0.3'), at('n2', '10.0.0.5')], moved), self, before);
    const [step, ...more] = planTunnels(before, after);
    assert.ok(step?.kind === 'change' && more.length === 0);
    assert.deepEqual(
      step.remove.map(({ ipv4 }) => ipv4),
      ['10.0.0.4'],
    );
    assert.deepEqual(
      step.put.map(({ ipv4, peer: to }) => [ipv4, to]),
      [
        ['10.0.0.3', '192.0.2.3'],
        ['10.0.0.5', '192.0.2.2'],
      ],
    );
  });

  it('are looked at first when they are of an earlier life, mended when the node has moved, removed when unknown', () => {
    const wanted = wantedTunnels(view([at('n2', '10.0.0.3')], TWO), self, new Map());
    const found = new Map<TunnelId, KnownTunnel>([
      [NET, { entries: new Map() }],
      ['gone' as NetworkId, { entries: new Map() }],
    ]);
    assert.deepEqual(
      planTunnels(found, wanted).map(({ kind, id }) => `${kind} ${id}`),
      ['remove gone', `ensure ${NET}`],
    );
    const there = wantedTunnels(
      view([at('n2', '10.0.0.3')], TWO),
      { ...self, overlay: { address: '192.0.2.9', port: 0 } },
      new Map(),
    );
    assert.deepEqual(
      planTunnels(new Map(wanted), there).map(({ kind }) => kind),
      ['ensure'],
    );
  });

  it('take an entry out before another address of the same card goes in', () => {
    const entry = (change: Partial<TunnelEntry>): ReadonlyMap<string, TunnelEntry> =>
      new Map([['10.0.0.3', { ipv4: '10.0.0.3', mac: '02:00:00:00:00:01', peer: '192.0.2.2', ...change }]]);
    const change = changeOf(entry({}), entry({ mac: '02:00:00:00:00:02' }));
    assert.deepEqual([change.remove.length, change.put.length], [1, 1]);
    assert.deepEqual(changeOf(entry({}), entry({ peer: '192.0.2.3' })).remove, []);
    assert.equal(changeOf(entry({}), entry({ ipv6: 'fd00::3' })).put.length, 1);
  });

  it('lose nothing on the word of an earlier life', () => {
    const one = { ipv4: '10.0.0.3', mac: '02:42:0a:00:00:03', peer: '192.0.2.2' };
    const other = { ...one, ipv4: '10.0.0.4' };
    const has = new Map([['10.0.0.3', one]]);
    assert.deepEqual(
      additionTo(
        has,
        new Map([
          ['10.0.0.3', { ...one, peer: '192.0.2.9' }],
          ['10.0.0.4', other],
        ]),
      ),
      { remove: [], put: [other] },
    );
    assert.deepEqual(additionTo(has, new Map()).remove, []);
  });
});

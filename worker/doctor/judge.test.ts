import assert from 'node:assert/strict';
import type { NetworkId, NodeId, ServiceId, TaskId } from '../../base/ids.ts';
import type { NetworkSurvey } from '../../node-engine/types.ts';
import type { DoctorCheck, Network } from '../../proto/types/index.ts';
import { network, service, task } from '../../test/builders/objects.ts';
import { NO_ASSIGNMENTS } from '../agent/assignments.ts';
import type { Assignments } from '../agent/assignments.ts';
import {
  judgeAddresses,
  judgeBridges,
  judgeFirewall,
  judgeForwarding,
  judgeRoutes,
  judgeTunnels,
  networksInUse,
} from './judge.ts';

const LAN: Network = network('lan', { vni: 4097 });
const ID: NetworkId = LAN.id;
const HEALTHY: NetworkSurvey = {
  forwarding: true,
  bridges: [{ id: ID, name: 'ts-lan', up: true, mtu: 1450, addresses: ['10.128.0.1/24'] }],
  ruled: ['ts-lan'],
  drops: [],
  foreignTunnels: [],
  addresses: [{ device: 'eth0', address: '192.0.2.7/24' }],
  routes: ['192.0.2.0/24', '10.0.0.0/8'],
};
const [bridge] = HEALTHY.bridges;
assert.ok(bridge);
const faults = (checks: readonly DoctorCheck[]): readonly string[] =>
  checks.flatMap(({ status, message, hint }) => {
    if (status !== 'broken') return [];
    assert.notEqual(hint, '', message);
    return [message];
  });
const WEB = task(service('web'), 1, {}, { addresses: [{ networkId: ID, ipv4: '10.128.0.5' }] });
const assigned = (change: Partial<Assignments>): Assignments => ({
  ...NO_ASSIGNMENTS,
  networks: new Map([[ID, LAN]]),
  tasks: new Map([[WEB.id, WEB]]),
  ...change,
});

describe('faults of a network', () => {
  it('are none where all is well', () => {
    const all = [
      ...judgeForwarding(HEALTHY),
      ...judgeFirewall(HEALTHY),
      ...judgeBridges([LAN], HEALTHY),
      ...judgeAddresses(assigned({})),
      ...judgeRoutes([LAN], HEALTHY),
    ];
    assert.deepEqual(
      all.map(({ status }) => status),
      ['ok', 'ok', 'ok', 'ok', 'ok'],
    );
  });

  it('of forwarding matter only where there are networks', () => {
    assert.match(faults(judgeForwarding({ ...HEALTHY, forwarding: false }))[0] ?? '', /does not forward IPv4/);
    assert.deepEqual(faults(judgeForwarding({ ...HEALTHY, forwarding: false, bridges: [] })), []);
  });

  it('of firewalls say the direction and the rule that helps', () => {
    const [check] = judgeFirewall({ ...HEALTHY, drops: [{ chain: 'ip filter FORWARD', out: false, into: true }] });
    assert.deepEqual([check?.subject, check?.message], ['ip filter FORWARD', 'this chain drops what containers get']);
    assert.equal(check?.hint, 'allow it there, for example: iptables -I FORWARD -o ts-+ -j ACCEPT');
  });

  it('of bridges are told apart', () => {
    const of = (change: Partial<NetworkSurvey>): string =>
      faults(judgeBridges([LAN], { ...HEALTHY, ...change })).join();
    assert.match(of({ bridges: [] }), /its bridge is missing/);
    assert.match(of({ bridges: [{ ...bridge, up: false }] }), /is down/);
    assert.match(of({ bridges: [{ ...bridge, addresses: [] }] }), /lacks the gateway's address 10\.128\.0\.1\/24/);
    assert.match(of({ ruled: [] }), /no rule knows its bridge/);
    assert.match(of({ ruled: undefined }), /the rules of this node are gone/);
  });

  it('of tunnels: the device, an entry, an entry too many', () => {
    const entry = { ipv4: '10.128.0.6', mac: '02:42:0a:80:00:06', peer: '192.0.2.8' };
    const request = { id: ID, name: 'app_lan', vni: 4097, port: 4789, local: '192.0.2.7' };
    const wanted = new Map([[ID, { request, entries: new Map([[entry.ipv4, entry]]) }]]);
    const of = (...entries: readonly (typeof entry)[]): string =>
      faults(judgeTunnels(wanted, [{ id: ID, entries }], HEALTHY)).join();
    assert.equal(of(entry), '');
    assert.match(faults(judgeTunnels(wanted, [], HEALTHY)).join(), /its VXLAN device \(VNI 4097\) is missing/);
    const foreign = { ...HEALTHY, foreignTunnels: [{ name: 'vx-000042-a1b2c', vni: 4097, port: 4789 }] };
    assert.match(
      faults(judgeTunnels(wanted, [], foreign)).join(),
      /"vx-000042-a1b2c" of somebody else has its VXLAN identifier \(VNI 4097, UDP port 4789\)/,
    );
    assert.match(of(), /1 of 1 addresses on other nodes cannot be reached, such as 10\.128\.0\.6/);
    assert.match(of({ ...entry, peer: '192.0.2.9' }), /cannot be reached/);
    assert.match(of(entry, { ...entry, ipv4: '10.128.0.7' }), /1 forwarding entries lead to nobody: 10\.128\.0\.7/);
  });

  it('of addresses name both owners', () => {
    const location = { taskId: 'far' as TaskId, networkId: ID, nodeId: 'b' as NodeId, ipv4: '10.128.0.5' };
    const twice = judgeAddresses(assigned({ locations: new Map([['far', location]]) }));
    assert.match(faults(twice).join(), /10\.128\.0\.5 belongs to container "app-web-1" and task far/);
    const virtual = { serviceId: 's' as ServiceId, networkId: ID, names: [], ipv4: '10.128.0.1' };
    assert.match(
      faults(judgeAddresses(assigned({ services: new Map([['s', virtual]]) }))).join(),
      /service s and the gateway/,
    );
  });

  it('of routes: what is as narrow as the network, not what is wider', () => {
    assert.match(
      faults(judgeRoutes([LAN], { ...HEALTHY, routes: ['10.128.0.0/24'] })).join(),
      /route to 10\.128\.0\.0\/24/,
    );
    const address = { device: 'tun0', address: '10.128.0.9/32' };
    assert.match(
      faults(judgeRoutes([LAN], { ...HEALTHY, addresses: [address] })).join(),
      /10\.128\.0\.9\/32 on "tun0"/,
    );
  });

  it('are looked for in networks of what runs here', () => {
    assert.deepEqual(networksInUse(assigned({})), [LAN]);
    assert.deepEqual(networksInUse(assigned({ tasks: new Map() })), []);
  });
});

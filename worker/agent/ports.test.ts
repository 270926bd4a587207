import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import type { PortForward } from '../../node-engine/types.ts';
import type { IngressPort, Network, OverlayPeer, Task, TaskStatus } from '../../proto/types/index.ts';
import { portForwards } from './ports.ts';
import type { LocalTask } from './ports.ts';

const port = { protocol: 'tcp', hostIp: '', published: 80, target: 8080, mode: 'ingress' } as const;
const ingress = (backends: readonly (readonly [string, string])[]): IngressPort =>
  ({
    port,
    serviceId: 'web',
    backends: backends.map(([taskId, ipv4]) => ({ taskId, ipv4 })),
  }) as unknown as IngressPort;
const local = (
  id: string,
  ipv4: string,
  change: Partial<TaskStatus & Task & { running: boolean }> = {},
): LocalTask => ({
  task: {
    id,
    serviceId: 'web',
    oneOff: false,
    desiredState: 'running',
    addresses: [{ ipv4 }],
    ports: [],
    ...change,
  } as unknown as Task,
  status: { state: 'running', health: 'none', ...change } as TaskStatus,
  running: change.running ?? true,
  addresses: [{ ipv4 }] as unknown as Task['addresses'],
});
const HERE = 'here' as NodeId;
const table = (
  ports: readonly IngressPort[],
  tasks: readonly LocalTask[],
  peers: Readonly<Record<string, string>> = {},
): readonly PortForward[] =>
  portForwards({
    nodeId: HERE,
    ingress: ports,
    tasks,
    networks: new Map([['lan', { spec: { driver: 'macvlan' } } as unknown as Network]]),
    peers: new Map(
      Object.entries(peers).map(([nodeId, meshAddress]) => [nodeId, { nodeId, meshAddress } as unknown as OverlayPeer]),
    ),
  });
const addresses = (ports: readonly IngressPort[], tasks: readonly LocalTask[]): string[][] =>
  table(ports, tasks).map(({ backends }) => backends.map(({ ipv4 }) => ipv4));

describe('the port table of a node', () => {
  it('leads to tasks on bridges, not to their addresses on a card of the node', () => {
    const both = local('a', '10.0.0.5');
    const addresses = [{ networkId: 'lan', ipv4: '192.0.2.9' }, ...both.task.addresses];
    const moved = { ...both, task: { ...both.task, addresses } as unknown as Task };
    assert.deepEqual(table([ingress([])], [moved])[0]?.backends, [{ ipv4: '10.0.0.5', port: 8080 }]);
  });
  it('takes endpoints from the manager', () => {
    assert.deepEqual(table([ingress([['far', '10.0.0.9']])], []), [
      { protocol: 'tcp', hostIp: '', port: 80, backends: [{ ipv4: '10.0.0.9', port: 8080 }] },
    ]);
  });

  describe('with other nodes', () => {
    const far = { taskId: 'far', ipv4: '10.0.0.9', nodeId: 'there' };
    const backends = [far, { ...far, taskId: 'far2', ipv4: '10.0.0.8' }, { ...far, taskId: 'near', nodeId: HERE }];
    const shared = (change: object = {}): IngressPort =>
      ({ ...ingress([]), backends, ...change }) as unknown as IngressPort;
    const mesh = { there: '169.254.192.2' };

    it('hands over to them, as often as they have endpoints, and takes over for its own', () => {
      const [found] = table([shared()], [local('near', '10.0.0.9')], mesh);
      assert.deepEqual(found?.backends, [
        { ipv4: '10.0.0.9', port: 8080 },
        { ipv4: '169.254.192.2', port: 80 },
        { ipv4: '169.254.192.2', port: 80 },
      ]);
      assert.deepEqual(found.meshBackends, [{ ipv4: '10.0.0.9', port: 8080 }]);
    });

    it('leads nobody to those that it cannot reach', () => {
      assert.deepEqual(
        table([shared()], [], {}).map((one) => [one.backends.length, one.meshBackends]),
        [[1, undefined]],
      );
    });

    it('hands over several ports of a number by numbers of their own: the same for all nodes', () => {
      const one = shared({ port: { ...port, hostIp: '127.0.0.1' } });
      const other = shared({ port: { ...port, hostIp: '10.77.0.1' }, serviceId: 'other' });
      const numbers = (ports: readonly IngressPort[]): readonly (readonly [string, number])[] =>
        table(ports, [], mesh)
          .map(({ hostIp, port: number, meshPort = number }) => [hostIp, meshPort] as const)
          .sort();
      const [first, second] = numbers([one, other]);
      assert.deepEqual(first, ['10.77.0.1', 80]);
      assert.ok(second !== undefined && second[0] === '127.0.0.1' && second[1] >= 32_768, String(second));
      assert.deepEqual(numbers([other, one]), [first, second]);
      // Whatever else is published.
      const third = shared({ port: { ...port, hostIp: '10.77.0.2' }, serviceId: 'third' });
      assert.deepEqual(numbers([third, other, one]).at(-1), second);
      assert.deepEqual(
        table([one, other], [], mesh).flatMap(({ backends }) => backends.map(({ port: number }) => number)),
        [8080, second[1], second[1], 8080, 80, 80],
      );
    });

    it('leads callers over IPv6 to those that have it', () => {
      const dual = { ...far, ipv6: 'fd00::9' };
      const near = {
        ...local('near', '10.0.0.9'),
        addresses: [{ ipv4: '10.0.0.9', ipv6: 'fd00::5' }],
      } as unknown as LocalTask;
      const [found] = table([shared({ backends: [dual, backends[1]] })], [near], mesh);
      assert.deepEqual(found?.backends, [
        { ipv4: '10.0.0.9', ipv6: 'fd00::5', port: 8080 },
        { ipv4: '169.254.192.2', ipv6: 'fd74:7373:6d65:7368::a9fe:c002', port: 80 },
        { ipv4: '169.254.192.2', port: 80 },
      ]);
    });

    it('keeps the callers’ addresses where the port says so', () => {
      const keeps = (source: object): readonly (boolean | undefined)[] =>
        table([shared({ port: { ...port, ...source } })], [], mesh).map(({ keepsSource }) => keepsSource);
      assert.deepEqual([keeps({ source: 'keep' }), keeps({})], [[true], [undefined]]);
    });
  });

  it('has an own task that serves before the manager knows, once', () => {
    assert.deepEqual(addresses([ingress([])], [local('a', '10.0.0.2')]), [['10.0.0.2']]);
    assert.deepEqual(addresses([ingress([['a', '10.0.0.2']])], [local('a', '10.0.0.2')]), [['10.0.0.2']]);
  });

  it('leaves an own task out that does not serve, or not any more', () => {
    for (const change of [
      { running: false },
      { health: 'starting' },
      { health: 'unhealthy' },
      { state: 'complete' },
    ] as const) {
      assert.deepEqual(addresses([ingress([['a', '10.0.0.2']])], [local('a', '10.0.0.2', change)]), [[]]);
    }
    for (const change of [{ oneOff: true }, { desiredState: 'shutdown' }, { serviceId: 'other' }]) {
      assert.deepEqual(addresses([ingress([])], [local('a', '10.0.0.2', change as never)]), [[]]);
    }
  });

  it('publishes a port that a task has for itself while it runs, and one port once', () => {
    const own = [{ ...port, published: 90, mode: 'host' }];
    const tasks = [local('a', '10.0.0.2', { ports: own } as never), local('b', '10.0.0.3', { ports: own } as never)];
    assert.deepEqual(addresses([], tasks), [['10.0.0.2']]);
    assert.deepEqual(addresses([], [local('a', '10.0.0.2', { ports: own, running: false } as never)]), []);
  });
});

import assert from 'node:assert/strict';
import type { IngressPort, Task, TaskStatus } from '../../proto/types/index.ts';
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
});
const addresses = (ports: readonly IngressPort[], tasks: readonly LocalTask[]): string[][] =>
  portForwards(ports, tasks).map(({ backends }) => backends.map(({ ipv4 }) => ipv4));

describe('the port table of a node', () => {
  it('takes endpoints of other nodes from the manager', () => {
    assert.deepEqual(portForwards([ingress([['far', '10.0.0.9']])], []), [
      { protocol: 'tcp', hostIp: '', port: 80, backends: [{ ipv4: '10.0.0.9', port: 8080 }] },
    ]);
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

import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ContainerId, NetworkId, SandboxInterface, SandboxRequest } from '../../types.ts';
import { containerSpec, imageConfig } from '../../../test/builders/container-spec.ts';
import type { ContainerRecord } from '../record.ts';
import { planSteps } from './plan.ts';

const on = (network: string, host: number, change: Partial<SandboxInterface> = {}): SandboxInterface => ({
  networkId: network as NetworkId,
  ipv4: `10.1.0.${host}`,
  prefix: 24,
  gateway: '',
  ...change,
});
const record = (sandbox: SandboxRequest): ContainerRecord => ({
  version: 1,
  id: 'c' as ContainerId,
  name: 'app-web-1',
  spec: containerSpec(),
  imageId: 'sha256:1',
  image: imageConfig(),
  limits: {},
  log: { driver: '', options: {} },
  sandbox,
  labels: {},
  hostname: 'c',
  volumes: [],
  files: [],
  argv: ['a'],
  healthCheck: undefined,
  stopSignal: 'SIGTERM',
  createdAt: 0,
});
const networks = (...interfaces: readonly SandboxInterface[]): ContainerRecord =>
  record({ mode: 'networks', interfaces });

describe('the steps of a live change', () => {
  it('put interfaces into the namespace, and the addresses into /etc/hosts', () => {
    assert.deepEqual(planSteps(networks(on('a', 1)), networks(on('a', 1), on('b', 2))), ['networks', 'names']);
    assert.deepEqual(planSteps(networks(on('a', 1), on('b', 2)), networks(on('b', 2))), ['networks', 'names']);
    assert.deepEqual(planSteps(networks(on('a', 1)), networks(on('a', 1))), []);
  });

  it('leave the namespace of another container to that one', () => {
    const shared = (...interfaces: readonly SandboxInterface[]): ContainerRecord =>
      record({ mode: 'container', container: 'd' as ContainerId, interfaces });
    assert.deepEqual(planSteps(shared(on('a', 1)), shared(on('a', 2))), ['names']);
  });

  it('refuse another namespace, and another name of an interface that is up', () => {
    const refused = (before: ContainerRecord, after: ContainerRecord, reason: RegExp): void =>
      assert.throws(
        () => planSteps(before, after),
        (error) => isTsswarmError(error, 'NOT_SUPPORTED') && reason.test(error.message),
      );
    refused(networks(on('a', 1)), record({ mode: 'none', interfaces: [] }), /"network mode" of container "app-web-1"/);
    refused(networks(on('a', 1)), networks(on('a', 1, { name: 'lan0' })), /"interface name"/);
    refused(networks(on('a', 1, { name: 'lan0' })), networks(on('a', 1)), /"interface name"/);
    assert.deepEqual(planSteps(networks(), networks(on('a', 1, { name: 'lan0' }))), ['networks', 'names']);
  });
});

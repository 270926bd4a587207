import assert from 'node:assert/strict';
import type { NodeId } from '../../../base/ids.ts';
import type { FencingPolicy, Mount, Task } from '../../../proto/types/index.ts';
import { service, task } from '../../../test/builders/objects.ts';
import { isFenced } from './fenced.ts';

const bind = (source: string, readOnly = false): Mount => ({
  type: 'bind',
  source,
  target: '/x',
  readOnly,
  propagation: 'rprivate',
  createHostPath: true,
});
const volume = (driverOptions: Record<string, string>, source = 'data', readOnly = false): Mount => ({
  type: 'volume',
  source,
  target: '/x',
  readOnly,
  noCopy: false,
  subpath: '',
  driver: 'local',
  driverOptions,
  labels: {},
});
const given = (mounts: readonly Mount[], fencing?: FencingPolicy, boundNode?: string): Task => {
  const one = task(service('web'), 1);
  return {
    ...one,
    spec: {
      ...one.spec,
      container: { ...one.spec.container, mounts },
      ...(fencing === undefined ? {} : { fencing }),
    },
    ...(boundNode === undefined ? {} : { boundNode: boundNode as NodeId }),
  };
};
const files = { isLocalPath: (path: string) => !path.startsWith('/nfs') };
const nfs = { type: 'nfs', o: 'addr=10.0.0.1,rw', device: ':/export' };

describe('a task that is fenced', () => {
  const rows: readonly (readonly [string, Task, boolean])[] = [
    ['nothing mounted', given([]), false],
    ['a volume on the node', given([volume({})]), false],
    ['a volume on a file server', given([volume(nfs)]), true],
    ['the same, read-only', given([volume(nfs, 'data', true)]), false],
    ['a volume of a driver type that nobody knows', given([volume({ type: 'gpfs', device: 'x' })]), true],
    ['a volume on a disk', given([volume({ type: 'ext4', device: '/dev/sdb1' })]), false],
    ['a volume that is a folder of the node', given([volume({ type: 'none', o: 'bind', device: '/srv' })]), false],
    ['a volume that is a folder on NFS', given([volume({ type: 'none', o: 'bind', device: '/nfs/a' })]), true],
    ['a folder of the node', given([bind('/srv')]), false],
    ['a folder on NFS', given([bind('/nfs/a')]), true],
    ['a folder on NFS, read-only', given([bind('/nfs/a', true)]), false],
    ['a folder on NFS, of a global service', given([bind('/nfs/a')], undefined, 'n1'), false],
    ['a folder on NFS, never', given([bind('/nfs/a')], 'never'), false],
    ['nothing mounted, always', given([], 'always'), true],
    ['always, of a global service', given([], 'always', 'n1'), false],
  ];
  for (const [title, one, expected] of rows)
    it(`${title}: ${expected ? 'yes' : 'no'}`, () => assert.equal(isFenced(one, files), expected));
});

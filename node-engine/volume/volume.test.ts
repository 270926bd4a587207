import { deepEqual, equal, throws } from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseDriverOptions } from './driver-options.ts';
import { LayerView } from './layer-view.ts';
import { mountPointsBelow } from './mount-points.ts';

describe('options of the local driver', () => {
  for (const [title, options, expected] of [
    ['none', {}, { kind: 'local' }],
    ['a bind', { type: 'none', o: 'bind,ro', device: '/srv' }, { kind: 'bind', device: '/srv', readOnly: true }],
    [
      'a tmpfs',
      { type: 'tmpfs', o: 'size=1m,nosuid,rw', device: 'tmpfs' },
      { kind: 'mount', fstype: 'tmpfs', device: 'tmpfs', flags: 2, data: 'size=1m' },
    ],
    [
      'an NFS share',
      { type: 'nfs', o: 'addr=10.0.0.1,nfsvers=4', device: ':/export' },
      { kind: 'mount', fstype: 'nfs', device: ':/export', flags: 0, data: 'addr=10.0.0.1,nfsvers=4' },
    ],
  ] as const) {
    it(`read ${title}`, () => deepEqual(parseDriverOptions('v', options), expected));
  }
  for (const [title, options, message] of [
    ['an unknown option', { size: '1g' }, /unknown driver option "size"/],
    ['no device', { type: 'tmpfs' }, /"device" is missing/],
    ['a relative bind', { o: 'bind', device: 'srv' }, /"srv" is relative/],
    ['no type', { device: '/dev/sda1' }, /"type" is missing/],
    ['data for a bind', { o: 'bind,size=1', device: '/srv' }, /"size=1" is not one of a bind mount/],
  ] as const) {
    it(`refuse ${title}`, () => throws(() => parseDriverOptions('v', options), { code: 'INVALID_INPUT', message }));
  }
});

describe('mount points below a folder', () => {
  it('come newest first, escapes resolved, neighbours left out', () => {
    const mountinfo = [
      '1 0 0:1 / /a rw',
      '2 1 0:2 / /a/b\\040c rw',
      '3 1 0:3 / /ab rw',
      '4 2 0:4 / /a/b\\040c rw',
    ].join('\n');
    deepEqual(mountPointsBelow('/a', mountinfo), ['/a/b c', '/a/b c', '/a']);
  });
});

describe('view of layers', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'a2-view-'));
    mkdirSync(join(directory, 'low/var/lib'), { recursive: true });
    mkdirSync(join(directory, 'low/run'), { recursive: true });
    mkdirSync(join(directory, 'up/var'), { recursive: true });
    mkdirSync(join(directory, 'up/opaque'), { recursive: true });
    mkdirSync(join(directory, 'low/opaque'), { recursive: true });
    writeFileSync(join(directory, 'low/opaque/hidden'), '');
    writeFileSync(join(directory, 'low/var/one'), 'low');
    writeFileSync(join(directory, 'low/var/two'), 'low');
    writeFileSync(join(directory, 'up/var/two'), 'up');
    symlinkSync('/../var', join(directory, 'up/link'));
    symlinkSync('loop', join(directory, 'up/loop'));
  });
  after(() => rmSync(directory, { recursive: true }));
  const view = (): LayerView =>
    new LayerView([join(directory, 'up'), join(directory, 'low')], (path, name) =>
      name === 'trusted.overlay.opaque' && path.toString().endsWith('up/opaque') ? Buffer.from('y') : undefined,
    );
  const names = (path: string): string[] | undefined => {
    const folder = view().resolve(path);
    return (
      folder &&
      [...view().children(folder)].map(([name, { path: at }]) => `${name}:${at.toString().slice(directory.length + 1)}`)
    );
  };

  it('merges folders, the upper file hides the lower', () => {
    deepEqual(names('/var'), ['lib:low/var/lib', 'one:low/var/one', 'two:up/var/two']);
  });
  it('follows links inside, and ".." stops at the root', () => deepEqual(names('/link'), names('/var')));
  it('ends at an opaque folder', () => deepEqual(names('/opaque'), []));
  it('knows what is not there', () => {
    equal(view().resolve('/nowhere/x'), undefined);
    equal(view().resolve('/loop'), undefined);
  });
});

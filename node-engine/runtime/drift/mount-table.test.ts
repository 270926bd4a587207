import { deepEqual, equal } from 'node:assert/strict';
import { mountOf, mountsAt, parseMountTable, sizeOf } from './mount-table.ts';

const TABLE = parseMountTable(
  [
    '30 20 0:30 / / ro,relatime - overlay overlay rw,lowerdir=/l',
    '33 31 0:33 / /a\\040b rw,nosuid - tmpfs tmpfs rw,size=1024k,mode=1777',
    '31 30 8:1 /srv /a\\040b ro,relatime master:1 - ext4 /dev/sda1 rw',
    '34 30 0:34 / /tmp rw - tmpfs tmpfs rw',
    '',
  ].join('\n'),
);

describe('the table of mounts', () => {
  it('tells what lies on top of what, in whatever order its lines are', () => {
    deepEqual(
      mountsAt(TABLE, '/a b').map(({ type }) => type),
      ['tmpfs', 'ext4'],
    );
    deepEqual(mountsAt(TABLE, '/a'), []);
  });
  it('tells the options of a mount from those of its file system', () => {
    deepEqual(mountsAt(TABLE, '/')[0]?.options, ['ro', 'relatime']);
  });
  it('tells which mount a path is on', () => {
    equal(mountOf(TABLE, '/a b/c')?.type, 'tmpfs');
    equal(mountOf(TABLE, '/a bc')?.type, 'overlay');
  });
  it('tells the size of a tmpfs; half of the memory is none', () => {
    const [top] = mountsAt(TABLE, '/a b');
    const [whole] = mountsAt(TABLE, '/tmp');
    deepEqual([top && sizeOf(top), whole && sizeOf(whole)], [1 << 20, 0]);
  });
});

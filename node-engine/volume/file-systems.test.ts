import assert from 'node:assert/strict';
import { fileSystemsOf, isLocalPath, isLocalType } from './file-systems.ts';

const MOUNTINFO = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:41 / /srv/shared rw,relatime shared:9 - nfs4 10.0.0.1:/export rw,vers=4.2
31 30 0:42 / /srv/shared/local rw - tmpfs tmpfs rw
32 22 0:43 / /mnt/a\\040b rw - fuse.sshfs host:/ rw
33 22 0:44 / /data rw - nfs4 10.0.0.1:/data rw
34 33 8:2 / /data rw - xfs /dev/sdb1 rw
`;

describe('the file system of a path', () => {
  for (const [path, type, isLocal] of [
    ['/etc', 'ext4', true],
    ['/srv/shared', 'nfs4', false],
    ['/srv/shared/db/wal', 'nfs4', false],
    ['/srv/sharedness', 'ext4', true],
    ['/srv/shared/local/x', 'tmpfs', true],
    ['/mnt/a b/file', 'fuse.sshfs', false],
    ['/data/x', 'xfs', true],
  ] as const) {
    it(`${path} is on ${type}, ${isLocal ? "this machine's alone" : "others' too"}`, () => {
      assert.equal(fileSystemsOf(path, MOUNTINFO)[0], type);
      assert.equal(isLocalType(type), isLocal);
    });
  }

  it('is also what is mounted below', () => {
    assert.deepEqual(fileSystemsOf('/srv', MOUNTINFO), ['ext4', 'nfs4', 'tmpfs']);
    assert.ok(fileSystemsOf('/', MOUNTINFO).includes('fuse.sshfs'));
  });

  it('is that of the folder of what is not there yet', () => {
    assert.equal(isLocalPath('/proc/no/such/folder'), true);
  });
});

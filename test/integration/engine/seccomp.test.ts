import { deepEqual, equal, rejects } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { arch, constants } from 'node:os';
import { join } from 'node:path';
import { syscallTable } from '../../../node-engine/seccomp/syscall-table.ts';
import type { ContainerSpec } from '../../../proto/types/index.ts';
import { EngineFixture } from './engine-fixture.ts';

/** Makes each call that it is given as "number:argument" and prints the errno. */
const PROBE = `
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *end;
    long number = strtol(argv[i], &end, 10);
    unsigned long argument = strtoul(end + 1, NULL, 0);
    errno = 0;
    syscall(number, argument, 0, 0, 0, 0, 0);
    printf("%d ", errno);
  }
}`;

const { EPERM, ENOSYS } = constants.errno;
const { numbers, newest } = syscallTable(arch() === 'arm64' ? 'arm64' : 'amd64');

describe('the seccomp filter of a container', () => {
  const fixture = new EngineFixture();
  let probe = '';
  before(async () => {
    await fixture.start();
    probe = join(fixture.root, 'probe');
    execFileSync('gcc', ['-static', '-o', probe, '-xc', '-'], { input: PROBE });
  });
  after(() => fixture.dispose());

  const command = (calls: readonly string[]): string =>
    `/probe ${calls
      .map((call) => {
        const [name = '', argument = '0'] = call.split(' ');
        return `${numbers.get(name) ?? name}:${argument}`;
      })
      .join(' ')}`;

  const spec = (over: Partial<ContainerSpec>): Partial<ContainerSpec> => ({
    mounts: [
      { type: 'bind', source: probe, target: '/probe', readOnly: true, propagation: 'rprivate', createHostPath: false },
    ],
    ...over,
  });

  async function errors(calls: readonly string[], over: Partial<ContainerSpec> = {}): Promise<readonly number[]> {
    const { stdout, stderr, code } = await fixture.run(command(calls), spec(over));
    equal(code, 0, stderr);
    return stdout.trim().split(' ').map(Number);
  }

  const FORBIDDEN = ['unshare 0', 'mount', 'keyctl 99', 'personality 0x40000', 'socket 40', 'io_uring_setup', 'setns'];

  it('forbids what the default profile does', async () => {
    deepEqual(
      await errors(FORBIDDEN),
      FORBIDDEN.map(() => EPERM),
    );
  });

  it('is what forbids it', async () => {
    const unconfined = await errors(['unshare 0', 'keyctl 99', 'personality 0x40000', 'clone3'], {
      securityOpt: ['seccomp=unconfined'],
    });
    deepEqual(unconfined, [0, constants.errno.EOPNOTSUPP, 0, constants.errno.EINVAL]);
  });

  it('lets the allowed personalities pass', async () => {
    deepEqual(await errors(['personality 0xffffffff', 'personality 0x20008', 'personality 0']), [0, 0, 0]);
  });

  it('says that newer calls and clone3 do not exist', async () => {
    deepEqual(await errors(['clone3', `${newest + 1}`]), [ENOSYS, ENOSYS]);
  });

  it('opens with a capability', async () => {
    deepEqual(await errors(['unshare 0'], { capAdd: ['SYS_ADMIN'] }), [0]);
  });

  it('holds with no new privileges and for a user without rights', async () => {
    const calls = ['unshare 0', 'getpid'];
    deepEqual(await errors(calls, { securityOpt: ['no-new-privileges'], user: 'app' }), [EPERM, 0]);
    deepEqual(await errors(calls, { capDrop: ['ALL'] }), [EPERM, 0]);
  });

  it('holds for what is executed in the container', async () => {
    const id = await fixture.up(fixture.request(['sleep', '1000'], spec({})));
    const text = async (privileged: boolean): Promise<string> => {
      const session = await fixture.engine.containers.exec(id, {
        argv: ['sh', '-c', `grep Seccomp: /proc/self/status; ${command(['unshare 0'])}`],
        env: [],
        user: '',
        workingDir: '',
        tty: false,
        stdin: false,
        privileged,
      });
      let output = '';
      for await (const { data } of session.output) output += Buffer.from(data).toString();
      equal((await session.exit).code, 0, output);
      return output.trim();
    };
    equal(await text(false), `Seccomp:\t2\n${EPERM}`);
    equal(await text(true), 'Seccomp:\t0\n0');
    await fixture.engine.containers.remove(id);
  });

  it('is the one of a file when that is asked for', async () => {
    const profile = join(fixture.root, 'profile.json');
    writeFileSync(
      profile,
      JSON.stringify({
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [
          {
            names: ['personality'],
            action: 'SCMP_ACT_ERRNO',
            errnoRet: 77,
            args: [{ index: 0, value: 8, op: 'SCMP_CMP_EQ' }],
          },
        ],
      }),
    );
    const securityOpt = [`seccomp=${profile}`];
    deepEqual(await errors(['personality 8', 'personality 0', 'unshare 0'], { securityOpt }), [77, 0, 0]);
    writeFileSync(profile, '{"defaultAction": "ALLOW"}');
    await rejects(errors(['getpid'], { securityOpt }), {
      code: 'INVALID_INPUT',
      message: /defaultAction is "ALLOW", expected SCMP_ACT_ERRNO/,
    });
  });

  it('is kept in files that only root may read', () => {
    const folder = join(fixture.runDir, 'engine/seccomp');
    for (const name of readdirSync(folder)) equal(statSync(join(folder, name)).mode & 0o777, 0o600);
    equal(statSync(folder).mode & 0o777, 0o700);
  });
});

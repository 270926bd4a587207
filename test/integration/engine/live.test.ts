import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import type { ContainerId } from '../../../base/ids.ts';
import type { ContainerCreate, FileContent } from '../../../node-engine/types.ts';
import { EngineFixture } from './engine-fixture.ts';

const file = (name: string, text: string, signal?: string): FileContent => ({
  target: `/run/secrets/${name}`,
  uid: 0,
  gid: 0,
  mode: 0o444,
  data: Buffer.from(text),
  ...(signal === undefined ? {} : { signal }),
});

/** Says what it sees each time that it is told to look. */
const WATCHER = `
look() { echo "$1 $(cat /run/secrets/one) $(cat /run/secrets/two) $(hostname)"; }
trap 'look HUP' HUP
trap 'look USR1' USR1
echo ready
while :; do sleep 1000 & wait $!; done`;

describe('new content of a secret', () => {
  const fixture = new EngineFixture();
  before(async () => {
    await fixture.start();
  });
  after(() => fixture.dispose());

  /** Lines of a container, as they come. */
  const lines = (id: ContainerId): AsyncGenerator<string> =>
    (async function* () {
      for await (const { data } of fixture.engine.containers.logs(id, { follow: true, tail: -1, since: 0, until: 0 }))
        yield* Buffer.from(data).toString().trim().split('\n');
    })();
  const next = async (from: AsyncGenerator<string>): Promise<string> => String((await from.next()).value);
  const update = ({ imageId: _, adopt: _adopt, ...request }: ContainerCreate): Promise<readonly string[]> => {
    ok(fixture.engine.containers.update);
    return fixture.engine.containers.update(request);
  };

  it('signals the main process as it is asked for, once, when all of the change is there', async () => {
    const first = fixture.request(
      ['sh', '-c', WATCHER],
      { hostname: 'a' },
      {
        secrets: [file('one', '1', 'SIGHUP'), file('two', '2', 'SIGHUP')],
      },
    );
    const id = await fixture.up(first);
    const said = lines(id);
    equal(await next(said), 'ready');
    const { pid } = fixture.engine.containers.inspect(id) ?? {};
    const secrets = [file('one', '10', 'SIGHUP'), file('two', '20', 'SIGHUP')];
    const second = { ...first, spec: { ...first.spec, hostname: 'b' }, secrets };
    deepEqual(await update(second), ['mounts', 'names', 'signal']);
    equal(await next(said), 'HUP 10 20 b');
    // The same again, another setting, and content that nobody wants to be told of: no signal. The next one that is said is the last one's.
    deepEqual(await update(second), []);
    deepEqual(await update({ ...second, labels: { a: 'b' } }), []);
    const quiet = [file('one', '100'), file('two', '20', 'SIGUSR1')];
    deepEqual(await update({ ...second, secrets: quiet }), ['mounts']);
    deepEqual(await update({ ...second, secrets: [file('one', '100'), file('two', '200', 'SIGUSR1')] }), [
      'mounts',
      'signal',
    ]);
    equal(await next(said), 'USR1 100 200 b');
    equal(fixture.engine.containers.inspect(id)?.pid, pid);
    await said.return(undefined);
    await fixture.engine.containers.remove(id);
  });

  it('is refused as a whole with a signal that does not exist', async () => {
    const first = fixture.request(['sh', '-c', WATCHER], {}, { secrets: [file('one', '1', 'SIGHUP')] });
    const id = await fixture.up(first);
    await rejects(update({ ...first, secrets: [file('one', '10', 'SIGNONE')] }), {
      code: 'INVALID_INPUT',
      message: /reading the signal "SIGNONE"/,
    });
    await fixture.engine.containers.remove(id);
  });
});

/**
 * Answers etcd's put from our store, one member. Prints its port when it serves; ends when its standard input does.
 *
 * Usage: node bench/raft/own-server.ts DIR
 */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { systemClock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { ConfigId, ProjectId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { openStore } from '../../manager/store/index.ts';
import type { SecretSpec } from '../../proto/types/index.ts';
import { PUT_PATH, decodePut, encodePutAnswer } from './kv.ts';

const dir = process.argv[2];
if (dir === undefined) throw new Error('usage: own-server.ts DIR');
const { store, close } = await openStore({
  dir,
  id: 'bench',
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
  onFatal: (error) => {
    throw error;
  },
});

const server = new Server();
server.addService(
  {
    put: {
      path: PUT_PATH,
      requestStream: false,
      responseStream: false,
      requestDeserialize: decodePut,
      requestSerialize: () => Buffer.alloc(0),
      responseSerialize: encodePutAnswer,
      responseDeserialize: () => 0,
    },
  },
  {
    put: (
      call: { request: { key: Buffer; value: Buffer } },
      answer: (error: object | null, value?: number) => void,
    ) => {
      void put(call.request.key.toString(), call.request.value).then(
        (version) => answer(null, version),
        (error: unknown) => answer({ code: 13, details: messageOf(error) }),
      );
    },
  },
);

/** A put as a user's config is: created once, updated from then on. Resolves with a version that holds it. */
async function put(key: string, value: Buffer): Promise<number> {
  const id = key as ConfigId;
  await store.update((tx) => {
    const known = tx.get('config', id);
    const spec: SecretSpec = { name: key, composeName: key, labels: {}, data: value };
    if (known === undefined) {
      tx.create('config', { id, meta: UNSTAMPED, projectId: 'bench' as ProjectId, spec });
    } else tx.update('config', { ...known, spec });
  });
  return store.view((tx) => tx.version);
}
const UNSTAMPED = { version: 0, createdAt: 0, updatedAt: 0 };

server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  console.log(port);
});
process.stdin.resume();
process.stdin.once('end', () => {
  server.forceShutdown();
  void close().then(() => process.exit(0));
});

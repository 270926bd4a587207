/**
 * Answers etcd's put and read from our store. Prints its port when it serves; ends when its standard input does.
 *
 * Usage: node bench/raft/own-server.ts DIR [MEMBER_FILE]    (MEMBER_FILE: one of several members, see member.ts)
 *        node bench/raft/own-server.ts etcd://HOST:PORT/PREFIX    (the store that etcd keeps)
 */
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../base/clock.ts';
import type { ConfigId, ProjectId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { parseStoreUrl } from '../../manager/store/etcd/access.ts';
import { connectEtcd } from '../../manager/store/etcd/client.ts';
import { openEtcdStore } from '../../manager/store/etcd/store.ts';
import { openStore } from '../../manager/store/index.ts';
import type { SecretSpec } from '../../proto/types/index.ts';
import { createFront } from './front.ts';
import { PUT_PATH, RANGE_PATH, decodePut, decodeRange, encodePutAnswer, encodeRangeAnswer } from './kv.ts';
import { joinPeers } from './member.ts';
import type { MemberFile } from './member.ts';

const [dir, memberFile] = process.argv.slice(2);
if (dir === undefined) throw new Error('usage: own-server.ts DIR [MEMBER_FILE]');
const member = memberFile === undefined ? undefined : (JSON.parse(readFileSync(memberFile, 'utf8')) as MemberFile);
const peers = member === undefined ? undefined : await joinPeers(member);
const onRaft = () =>
  openStore({
    dir,
    id: 'bench',
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...peers?.raft,
    onFatal: (error) => {
      throw error;
    },
  });
const { store, readIndex, close } = dir.startsWith('etcd://') ? await openOnEtcd(dir) : await openOnRaft();

const front = createFront({
  [PUT_PATH]: async (request) => {
    const { key, value } = decodePut(request);
    return encodePutAnswer(await put(key.toString(), value));
  },
  [RANGE_PATH]: async (request) => encodeRangeAnswer(await range(decodeRange(request))),
});

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

/** A linearizable read, as etcd's is. */
async function range(key: Buffer): Promise<{ key: Buffer; value: Uint8Array | undefined }> {
  await readIndex();
  const found = store.view((tx) => tx.get('config', key.toString() as ConfigId));
  return { key, value: found?.spec.data };
}

async function openOnRaft() {
  const { store, raft, close } = await onRaft();
  return { store, readIndex: () => raft.readIndex(), close };
}

/** Resolves when it leads. */
async function openOnEtcd(url: string) {
  const access = parseStoreUrl(url);
  const { store, leadership, close } = await openEtcdStore({
    client: connectEtcd({ ...access, clock: systemClock }),
    prefix: access.prefix,
    id: 'bench',
    address: '127.0.0.1:1',
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  await new Promise<void>((resolve) => {
    leadership.observe((event) => event.kind === 'leader' && event.isSelf && resolve());
    if (leadership.status().ready) resolve();
  });
  const readIndex = () => Promise.reject(new Error('reading by index: not with a store on etcd'));
  return { store, readIndex, close };
}

front.listen(member?.clientPort ?? 0, '127.0.0.1', () => console.log((front.address() as AddressInfo).port));
process.stdin.resume();
process.stdin.once('end', () => {
  front.close();
  peers?.close();
  void close().then(() => process.exit(0));
});

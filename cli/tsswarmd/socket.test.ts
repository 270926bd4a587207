import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../base/errors.ts';
import { connect } from '../../proto/rpc/client.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { PREFACE } from '../../proto/rpc/local/frames.ts';
import { createLocalServer } from '../../proto/rpc/local/server.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import { daemonService } from '../../proto/rpc/services.ts';
import { listenOnSocket } from './socket.ts';

describe("the node's socket", () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-socket-'));
  const path = join(dir, 'sock');
  const servers = { rpc: createRpcServer(), local: createLocalServer() };
  let listening: Awaited<ReturnType<typeof listenOnSocket>>;

  before(async () => {
    for (const server of [servers.rpc, servers.local]) {
      server.add(daemonService, {
        status: () => Promise.reject(new Error('not asked')),
        leave: () => Promise.resolve({}),
        unlock: () => Promise.reject(new Error('not asked for')),
        forceNewCluster: () => Promise.reject(new Error('not asked for')),
      });
    }
    listening = await listenOnSocket(servers, path);
  });
  after(() => {
    listening.close();
    servers.local.close();
    servers.rpc.close();
    rmSync(dir, { recursive: true });
  });

  it('is for root alone', () => assert.equal(statSync(path).mode & 0o777, 0o600));

  it('answers gRPC and the local protocol', async () => {
    for (const client of [connect(`unix:${path}`), connectLocal(path)]) {
      assert.deepEqual(await client.service(daemonService).leave({ force: true }), {});
      client.close();
    }
  });

  it('sends a caller of another version away, after it has said its own', async () => {
    const socket = connectSocket(path);
    socket.write('TSW1otherversion');
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    assert.deepEqual(Buffer.concat(chunks), PREFACE);
  });

  it('is not taken from a daemon that serves it', async () => {
    await assert.rejects(listenOnSocket(servers, path), (error) => isTsswarmError(error, 'IN_USE'));
  });
});

import assert from 'node:assert/strict';
import { systemClock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { connect } from '../../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import { createRpcServer } from '../../../proto/rpc/server.ts';
import type { RpcServer } from '../../../proto/rpc/server.ts';
import { raftService } from '../../../proto/rpc/services.ts';
import { nodeCredentials } from '../../../proto/rpc/tls.ts';
import { NOBODY, caCluster } from '../../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../../test/builders/ca-cluster.ts';
import { message } from '../../../test/fakes/raft-group.ts';
import type { RaftMessage } from '../types.ts';
import { createRaftTransport } from './server.ts';
import type { RaftTransport } from './server.ts';

interface End {
  readonly identity: LiveIdentity;
  readonly id: NodeId;
  readonly transport: RaftTransport;
  readonly server: RpcServer;
  readonly port: number;
  readonly address: string;
  /** Resolves with the next message that `wanted` accepts. */
  next(wanted: (message: RaftMessage) => boolean): Promise<RaftMessage>;
}

describe('the transport of Raft', function () {
  this.timeout(20_000);
  let cluster: CaCluster;
  const ends: End[] = [];
  before(async () => void (cluster = await caCluster()));
  afterEach(async () => {
    for (const { transport, server } of ends.splice(0)) {
      await transport.close();
      server.close();
    }
  });
  after(() => cluster.close());

  const open = async (identity: LiveIdentity, port = 0): Promise<End> => {
    const options = { identity, clock: systemClock, random: systemRandom, logger: silentLogger };
    const transport = createRaftTransport(options);
    const server = createRpcServer();
    server.add(raftService, transport.handlers);
    const bound = await server.listenTls(`127.0.0.1:${port}`, { identity, clock: systemClock, ...NOBODY });
    const heard: RaftMessage[] = [];
    let look: () => void = () => undefined;
    transport.onMessages((messages) => {
      heard.push(...messages);
      look();
    });
    const end: End = {
      identity,
      id: identity.node.nodeId,
      transport,
      server,
      port: bound,
      address: `127.0.0.1:${bound}`,
      next: (wanted) =>
        new Promise((resolve) => {
          look = () => {
            const found = heard.find(wanted);
            if (found !== undefined) resolve(found);
          };
          look();
        }),
    };
    ends.push(end);
    return end;
  };
  const pair = async (): Promise<[End, End]> => [
    await open(cluster.manager),
    await open(await cluster.member('manager')),
  ];
  const server = ({ id, address }: { id: string; address: string }) => ({ id, address, voter: true });
  const heartbeat = (from: End, to: End, round: number) =>
    message('heartbeat', { from: from.id, fromAddress: from.address, to: to.id, round });

  it('carries every kind of message as it is, entries and snapshots too', async () => {
    const [a, b] = await pair();
    const from = { from: a.id, fromAddress: a.address, to: b.id, term: 7 };
    const bytes = Buffer.alloc(2_000_000, 7);
    const base = { term: 7, from: a.id, fromAddress: a.address, to: b.id };
    const messages: RaftMessage[] = [
      { kind: 'pre-vote', ...base, lastIndex: 4, lastTerm: 0 },
      { kind: 'vote-answer', ...base, granted: false },
      { kind: 'heartbeat-answer', ...base, round: 0 },
      {
        kind: 'append',
        ...base,
        prevIndex: 0,
        prevTerm: 0,
        commitIndex: 9,
        entries: [{ index: 1, term: 2, kind: 'command', payload: bytes }],
      },
      {
        kind: 'install-snapshot',
        ...base,
        snapshot: { index: 5, term: 2, configuration: { index: 1, servers: [server(a)] } },
        offset: 0,
        data: bytes,
        done: false,
      },
    ];
    a.transport.send(server(b), messages);
    for (const sent of messages) {
      const got = await b.next(({ kind }) => kind === sent.kind);
      const { entries: _, ...rest } = { entries: [], ...got };
      const { entries: __, ...expected } = { entries: [], ...sent };
      assert.deepEqual(rest, expected);
      if (sent.kind === 'append') assert.deepEqual((got as typeof sent).entries, sent.entries);
    }
    assert.equal(from.term, 7);
  });

  it('takes up again after the peer was gone', async () => {
    const [a, b] = await pair();
    a.transport.send(server(b), [heartbeat(a, b, 1)]);
    await b.next((got) => got.kind === 'heartbeat' && got.round === 1);
    ends.splice(ends.indexOf(b), 1);
    await b.transport.close();
    b.server.close();
    const again = await open(b.identity, b.port);
    // As Raft does: it says it again until it hears.
    const timer = setInterval(() => a.transport.send(server(b), [heartbeat(a, b, 2)]), 20);
    try {
      await again.next((got) => got.kind === 'heartbeat' && got.round === 2);
    } finally {
      clearInterval(timer);
    }
  });

  it('is for managers, and each speaks only for itself', async () => {
    const [a, b] = await pair();
    const call = async (identity: LiveIdentity, sent: RaftMessage): Promise<void> => {
      const connection = connect(b.address, nodeCredentials(identity));
      try {
        const stream = connection.service(raftService).messages();
        void stream.send({ messages: [sent], acknowledge: false }).catch(() => undefined);
        for await (const _ of stream.output);
      } finally {
        connection.close();
      }
    };
    const worker = await cluster.member('worker');
    const sent = heartbeat(a, b, 3);
    const refused = (words: RegExp) => (error: unknown) =>
      isTsswarmError(error, 'PERMISSION_DENIED') && words.test(error.message);
    await assert.rejects(call(worker, { ...sent, from: worker.node.nodeId }), refused(/not allowed for the worker/));
    await assert.rejects(call(a.identity, { ...sent, from: 'other' }), refused(/speaks only for itself/));
  });

  it('does not speak to another node that answers at the address', async () => {
    const [a, b] = await pair();
    const other = { ...server(b), id: 'gone' };
    a.transport.send(other, [{ ...heartbeat(a, b, 4), to: 'gone' }]);
    a.transport.send(server(b), [heartbeat(a, b, 5)]);
    await b.next((got) => got.kind === 'heartbeat' && got.round === 5);
    await assert.rejects(
      connect(b.address, nodeCredentials(a.identity, { nodeId: 'gone' as NodeId }))
        .service(raftService)
        .ping({}),
      (error) => isTsswarmError(error, 'PERMISSION_DENIED') && /another node answers/.test(error.message),
    );
  });
});

import { createServer } from 'node:http2';
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { isTsswarmError, messageOf } from '../../base/errors.ts';
import { Deframer, frame } from '../../proto/rpc/framing.ts';

/** Answers one method: bytes of the request in, bytes of the answer out. */
export type Answer = (request: Buffer) => Promise<Uint8Array>;

/** grpc-status of what was not stored for certain: the caller may try another member (UNAVAILABLE), or has found a fault (INTERNAL). */
const [UNAVAILABLE, INTERNAL] = [14, 13];

/**
 * Serves unary methods by gRPC's protocol straight on HTTP/2 ("gRPC over HTTP2", PROTOCOL-HTTP2.md in grpc's documentation): it is the
 * store that is measured here, and what a call takes in the server of grpc-js is no part of it.
 * @param methods by path, "/package.Service/Method"
 */
export function createFront(methods: Readonly<Record<string, Answer>>): Http2Server {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const answer = methods[String(headers[':path'])];
    const deframer = new Deframer();
    // Who hangs up is told nothing.
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      for (const request of deframer.take(chunk)) {
        if (answer === undefined) refuse(stream, new Error(`no such method: "${String(headers[':path'])}"`));
        else
          answer(request).then(
            (bytes) => accept(stream, bytes),
            (error: unknown) => refuse(stream, error),
          );
      }
    });
  });
  return server;
}

function accept(stream: ServerHttp2Stream, bytes: Uint8Array): void {
  if (stream.destroyed) return;
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(frame(bytes));
}

function refuse(stream: ServerHttp2Stream, error: unknown): void {
  if (stream.destroyed) return;
  const isElsewhere = isTsswarmError(error, 'NOT_LEADER') || isTsswarmError(error, 'UNAVAILABLE');
  const status = {
    'grpc-status': isElsewhere ? UNAVAILABLE : INTERNAL,
    'grpc-message': encodeURIComponent(messageOf(error)),
  };
  stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto', ...status }, { endStream: true });
}

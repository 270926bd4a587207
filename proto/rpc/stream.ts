import { Metadata } from '@grpc/grpc-js';
import { connect as http2Connect } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2';
import { connect as tcpConnect } from 'node:net';
import { messageOf } from '../../base/errors.ts';
import type { TsswarmError } from '../../base/errors.ts';
import { splitAddress } from './address.ts';
import { grpcMethod } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { fromGrpcError, lostConnection } from './errors.ts';
import { Deframer, frame } from './framing.ts';
import type { Method } from './services.ts';
import type { TlsCredentials } from './tls.ts';

/** One call of a method that streams both ways, on a connection of its own. */
export interface MessageStream<Q> {
  /**
   * Writes a message; `written` is called when the connection has taken it, and never when the stream ends before. Only after the other
   * side's first message: before it nobody knows whether the stream stands.
   */
  send(message: Q, written: () => void): void;
  /** Ends call and connection; nothing is told any more. */
  cancel(): void;
}

/** What is told of a stream, in this order: its messages, then once its end. */
export interface StreamEvents<A> {
  readonly message: (message: A) => void;
  /** @param error why it ended; a stream that the other side ended well is lost, too: it was meant to stand */
  readonly end: (error: TsswarmError) => void;
}

/**
 * Opens a stream by gRPC's protocol straight on HTTP/2 ("gRPC over HTTP2", PROTOCOL-HTTP2.md in grpc's documentation). The library's client
 * leads every message through filters, retries and load balancing: a dozen promises and closures for each of the small messages between
 * managers, on whose way a put waits. Whoever serves it sees a call like any other.
 * @param tls the certificate's check is as in every other call
 */
export function openStream<Q extends object, A extends object>(
  address: string,
  tls: TlsCredentials,
  definition: Method<Q, A, true, true>,
  events: StreamEvents<A>,
): MessageStream<Q> {
  const method = grpcMethod(definition as unknown as AnyMethod);
  let over = false;
  let session: ClientHttp2Session | undefined;
  let stream: ClientHttp2Stream | undefined;
  const socket = tcpConnect({ ...splitAddress(address), noDelay: true });

  const close = (): void => {
    over = true;
    stream?.destroy();
    session?.destroy();
    socket.destroy();
  };
  const end = (error: TsswarmError): void => {
    if (over) return;
    close();
    events.end(error);
  };
  const lost = (cause: unknown): void => end(tls.failure ?? lostConnection(address, messageOf(cause), cause));
  const status = (headers: IncomingHttpHeaders & IncomingHttpStatusHeader): void => {
    const code = headers['grpc-status'];
    if (code === undefined) {
      if (headers[':status'] !== 200) lost(new Error(`it answers with HTTP status ${headers[':status']}`));
      return;
    }
    if (code === '0') return lost(new Error('the other side ended the stream'));
    const details = decodeURIComponent(String(headers['grpc-message'] ?? ''));
    end(fromGrpcError({ code: Number(code), details, metadata: Metadata.fromHttp2Headers(headers) }));
  };
  const opened = (): void => {
    const deframer = new Deframer();
    stream?.on('response', status);
    stream?.on('trailers', status);
    stream?.on('data', (chunk: Buffer) => {
      try {
        for (const bytes of deframer.take(chunk)) if (!over) events.message(method.responseDeserialize(bytes) as A);
      } catch (error) {
        lost(error);
      }
    });
    stream?.on('error', lost);
    stream?.on('close', () => lost(new Error('the stream was closed')));
  };

  socket.on('error', lost);
  socket.once('connect', () => {
    tls
      .secure(socket)
      .then((secured) => {
        if (over) return secured.destroy();
        session = http2Connect(`https://${address}`, { createConnection: () => secured });
        session.on('error', lost);
        session.on('close', () => lost(new Error('the connection was closed')));
        stream = session.request(
          {
            ':method': 'POST',
            ':path': method.path,
            'content-type': 'application/grpc',
            te: 'trailers',
          },
          { endStream: false },
        );
        opened();
      })
      .catch(lost);
  });

  return {
    send(message, written) {
      if (over) return;
      if (stream === undefined) throw new Error(`sending to "${address}": the stream does not stand yet`);
      stream.write(frame(method.requestSerialize(message)), (error) => {
        if (error === null || error === undefined) written();
      });
    },
    cancel: close,
  };
}

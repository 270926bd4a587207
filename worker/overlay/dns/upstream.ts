/** Asks other name servers, from the node's own network namespace, and passes their answers on as they are. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Clock, Timer } from '../../../base/clock.ts';
import { FrameReader, frame } from './frames.ts';

const DNS_PORT = 53;
/** A server that is silent for so long is not waited for alone any more: the next is asked beside it. */
const PATIENCE_MS = 1000;
/** Clients give up after 5 seconds (resolv.conf(5), "timeout"); they get our answer before that. */
const DEADLINE_MS = 4500;
const MAX_ATTEMPTS = 4;
const RCODE_MASK = 0x0f;
/** SERVFAIL, NOTIMP, REFUSED: another server may know better. NXDOMAIN is an answer. */
const UNHELPFUL: readonly number[] = [2, 4, 5];

export type Transport = 'udp' | 'tcp';

/** One try at one server. It reports at most once. */
type Exchange = (server: string, message: Buffer, report: (reply: Buffer | undefined) => void) => { close(): void };

/**
 * Asks the servers in turn, twice around at most.
 * @param servers at least one
 * @returns the first helpful answer, else the last unhelpful one, else undefined; after 4.5 seconds at the latest
 */
export async function askUpstream(
  clock: Clock,
  servers: readonly string[],
  transport: Transport,
  message: Buffer,
): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  const attempts = Array.from(
    { length: Math.min(MAX_ATTEMPTS, servers.length * 2) },
    (_, i) => servers[i % servers.length] ?? '',
  );
  const exchange = transport === 'udp' ? overUdp : overTcp;
  const open: { close(): void }[] = [];
  let unhelpful: Buffer | undefined;
  let pending = 0;
  let patience: Timer | undefined;

  const next = (): void => {
    patience?.cancel();
    const server = attempts.shift();
    if (server === undefined) {
      if (pending === 0) resolve(unhelpful);
      return;
    }
    pending++;
    patience = clock.startTimer(PATIENCE_MS, next);
    open.push(
      exchange(server, message, (reply) => {
        pending--;
        if (reply && !UNHELPFUL.includes(reply.readUInt16BE(2) & RCODE_MASK)) return resolve(reply);
        unhelpful = reply ?? unhelpful;
        next();
      }),
    );
  };
  const deadline = clock.startTimer(DEADLINE_MS, () => resolve(unhelpful));
  next();
  try {
    return await promise;
  } finally {
    attempts.length = 0;
    deadline.cancel();
    patience?.cancel();
    for (const { close } of open) close();
  }
}

/** Over a socket of its own: the port and the message's id are both hard to guess for a forger (RFC 5452). */
const overUdp: Exchange = (server, message, report) => {
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  const { sent, restore } = disguise(message);
  let done = false;
  const finish = (reply: Buffer | undefined): void => {
    if (done) return;
    done = true;
    socket.close();
    report(reply);
  };
  socket.on('error', () => finish(undefined));
  socket.on('message', (reply) => {
    if (answers(reply, sent)) finish(restore(reply));
  });
  // Connected: the kernel drops what others send, and tells when the port is closed.
  // Its callback also hears of a failure ("network is unreachable"), which @types/node leaves out.
  const connected = (failure?: Error): void => {
    if (failure !== undefined) finish(undefined);
    else if (!done) socket.send(sent, (error) => error && finish(undefined));
  };
  socket.connect(DNS_PORT, server, connected);
  return {
    close() {
      if (done) return;
      done = true;
      socket.close();
    },
  };
};

const overTcp: Exchange = (server, message, report) => {
  const { sent, restore } = disguise(message);
  const reader = new FrameReader();
  const socket = connect(DNS_PORT, server, () => socket.write(frame(sent)));
  let done = false;
  const finish = (reply: Buffer | undefined): void => {
    if (done) return;
    done = true;
    socket.destroy();
    report(reply);
  };
  socket.on('data', (part) => {
    for (const reply of reader.push(part)) if (answers(reply, sent)) finish(restore(reply));
  });
  socket.on('error', () => finish(undefined));
  socket.on('close', () => finish(undefined));
  return {
    close() {
      done = true;
      socket.destroy();
    },
  };
};

/** The message under a random id, and how to give an answer the client's id back. */
function disguise(message: Buffer): { readonly sent: Buffer; restore(reply: Buffer): Buffer } {
  const sent = Buffer.from(message);
  sent.writeUInt16BE(randomInt(0x10000), 0);
  return {
    sent,
    restore(reply) {
      const restored = Buffer.from(reply);
      restored.writeUInt16BE(message.readUInt16BE(0), 0);
      return restored;
    },
  };
}

const HEADER_BYTES = 12;

function answers(reply: Buffer, sent: Buffer): boolean {
  return (
    reply.length >= HEADER_BYTES &&
    (reply.readUInt16BE(2) & 0x8000) !== 0 &&
    reply.readUInt16BE(0) === sent.readUInt16BE(0)
  );
}

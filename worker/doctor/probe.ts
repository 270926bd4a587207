/** Tries the ways to others with packets of its own: small and full-sized ones through the tunnels, TLS to the managers, questions to DNS servers. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { connect } from 'node:tls';
import { messageOf } from '../../base/errors.ts';
import type { DoctorCheck } from '../../proto/types/index.ts';
import { ECHO_PORT } from '../../node-engine/network/index.ts';
import { broken, ok } from './judge.ts';

const HEADERS = 28;
const TRY_MS = 300;
const PATIENCE_MS = 3000;
const TLS_MS = 4000;

export interface Neighbour {
  readonly nodeId: string;
  /** In the tunnel. */
  readonly address: string;
  /** Address of the node for packets between nodes, for messages. */
  readonly underlay: string;
}

/**
 * Each node answers at its address in the tunnel while it is examined. Sends to every neighbour until it has answered or patience is over, and answers those that send to this one meanwhile.
 * @param own this node's address in the tunnel
 * @param tunnel its UDP port, and its MTU: the largest datagrams are so large that they fill a packet of it
 */
export async function probeTunnels(
  own: string,
  { mtu, port }: { readonly mtu: number; readonly port: number },
  neighbours: readonly Neighbour[],
  signal: AbortSignal,
): Promise<readonly DoctorCheck[]> {
  const sizes = [32, mtu - HEADERS];
  const heard = new Set<string>();
  const echo = await open(own, ECHO_PORT);
  const asker = await open(own, 0);
  echo.on('message', (data, { address, port: from }) => echo.send(data, from, address, () => undefined));
  const key = (address: string, size: number): string => `${address} ${size}`;
  const waiting = Promise.withResolvers<void>();
  const isDone = (): boolean => neighbours.every(({ address }) => sizes.every((size) => heard.has(key(address, size))));
  asker.on('message', (data, { address }) => {
    heard.add(key(address, data.length));
    if (isDone()) waiting.resolve();
  });
  const ask = (): void => {
    for (const { address } of neighbours)
      for (const size of sizes)
        if (!heard.has(key(address, size))) asker.send(Buffer.alloc(size), ECHO_PORT, address, () => undefined);
  };
  ask();
  const again = setInterval(ask, TRY_MS);
  const begun = performance.now();
  const over = setTimeout(waiting.resolve, PATIENCE_MS);
  signal.addEventListener('abort', () => waiting.resolve(), { once: true });
  await waiting.promise;
  // Others may have begun later: they are answered until their patience is over, too.
  if (!signal.aborted && neighbours.length > 0)
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, PATIENCE_MS / 2 - (performance.now() - begun))));
  clearInterval(again);
  clearTimeout(over);
  echo.close();
  asker.close();
  return neighbours.map(({ nodeId, address, underlay }) => {
    const [small, full] = sizes.map((size) => heard.has(key(address, size)));
    if (small === true && full === true) return ok('path', nodeId, `${underlay} answers, packets of ${mtu} bytes too`);
    if (small === true) {
      const hint = `a link on the way carries less than this node's: raise its MTU, or lower the networks' (driver_opts: com.docker.network.driver.mtu)`;
      return broken('path', nodeId, `${underlay} answers, but packets of ${mtu} bytes get lost on the way`, hint);
    }
    return broken(
      'path',
      nodeId,
      `${underlay} does not answer through the tunnel`,
      `let ${port}/udp pass between the nodes, both ways`,
    );
  });
}

async function open(address: string, port: number): Promise<Socket> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
  socket.on('error', () => undefined);
  return socket;
}

/** Whether something that speaks TLS answers at each address "host:port". */
export function probeManagers(addresses: readonly string[]): Promise<readonly DoctorCheck[]> {
  return Promise.all(
    addresses.map(async (address) => {
      const end = address.lastIndexOf(':');
      const host = address.slice(0, end).replace(/^\[|\]$/g, '');
      const reason = await tlsFault(host, Number(address.slice(end + 1)));
      if (reason === undefined) return ok('control', address, 'the manager answers');
      return broken(
        'control',
        address,
        `the manager does not answer: ${reason}`,
        'let its TCP port pass from this node; see "tsswarm node ls" whether it is up',
      );
    }),
  );
}

/** Why there is no TLS there; undefined: there is. The certificate is not looked at: whoever answers so far is reached. */
function tlsFault(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.2' });
    const end = (reason: string | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reason);
    };
    const timer = setTimeout(() => end('no answer in time'), TLS_MS);
    socket.once('secureConnect', () => end(undefined));
    socket.once('error', (error) => end(messageOf(error)));
  });
}

/** Whether the DNS servers that names of others are asked at answer at all. */
export function probeNameservers(servers: readonly string[]): Promise<readonly DoctorCheck[]> {
  return Promise.all(
    servers.map(async (server) => {
      if (await answers(server)) return ok('dns', server, 'the server answers');
      return broken(
        'dns',
        server,
        'the server does not answer',
        'look at /etc/resolv.conf of this node, or give containers "dns:" of their own',
      );
    }),
  );
}

/** "tsswarm-doctor.invalid", of which every server knows that it does not exist (RFC 6761). */
const QUESTION = Buffer.concat([
  Buffer.from([0x74, 0x73, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
  ...['tsswarm-doctor', 'invalid'].flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]),
  Buffer.from([0, 0, 1, 0, 1]),
]);

async function answers(server: string): Promise<boolean> {
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  const answer = Promise.withResolvers<boolean>();
  socket.on('message', (data) => {
    if (data.length >= 12 && data.readUInt16BE(0) === QUESTION.readUInt16BE(0)) answer.resolve(true);
  });
  socket.on('error', () => answer.resolve(false));
  const ask = (): void => socket.send(QUESTION, 53, server, (error) => error && answer.resolve(false));
  ask();
  const again = setInterval(ask, PATIENCE_MS / 3);
  const over = setTimeout(() => answer.resolve(false), PATIENCE_MS);
  const found = await answer.promise;
  clearInterval(again);
  clearTimeout(over);
  socket.close();
  return found;
}

/**
 * A small world for network tests: a namespace that is "the node", where a process with our networking runs, and one that
 * is a client on the node's wire. The machine's own network is not touched.
 */
import { execFileSync, fork, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { tmpdir } from 'node:os';
import { TsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import { bindSocket, umount } from '../../../node-engine/native/addon.ts';
import type { METHODS } from './node-process.ts';

type Methods = typeof METHODS;
type Reply = { number: number; value?: unknown; error?: { message: string; code?: ErrorCode; hint?: string } };

let count = 0;

export interface Lab {
  /** Files of the two namespaces. */
  readonly node: string;
  readonly client: string;
  /** Holds the namespaces' files and the node's resolv.conf. */
  readonly directory: string;
  call<M extends keyof Methods>(method: M, ...args: Parameters<Methods[M]>): ReturnType<Methods[M]>;
  /** Kills the node's process with SIGKILL and starts another. */
  restart(): Promise<void>;
  /** Ends everything, also what a failed test left. */
  close(): Promise<void>;
  /** Answers every TCP connection and datagram with `text`, inside a namespace. */
  serve(netns: string, kind: 'tcp' | 'udp', port: number, text: string, ip?: string): Promise<void>;
  /** Answers every TCP connection over IPv6 with `text`, and the caller's address where that is not of a container. */
  serveIpv6(netns: string, port: number, text: string): Promise<void>;
}

/** 192.168.77.1 is the node, 192.168.77.2 the client. */
export async function openLab(): Promise<Lab> {
  const name = `tsnet${process.pid}x${count++}`;
  const [node, client] = [`${name}-node`, `${name}-client`];
  const directory = mkdtempSync(join(tmpdir(), 'tsswarm-network-test-'));
  const closers: (() => void)[] = [];
  for (const space of [node, client]) ip('netns', 'add', space);
  ip('-n', node, 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', client);
  for (const [space, address] of [
    [node, '192.168.77.1/24'],
    [client, '192.168.77.2/24'],
  ] as const) {
    ip('-n', space, 'addr', 'add', address, 'dev', 'wire');
    ip('-n', space, 'link', 'set', 'wire', 'up');
    ip('-n', space, 'link', 'set', 'lo', 'up');
  }
  let child = startNode(node, directory);
  let number = 0;
  return {
    node: `/var/run/netns/${node}`,
    client: `/var/run/netns/${client}`,
    directory,
    call: ((method: keyof Methods, ...args: unknown[]) => ask(child, number++, method, args)) as Lab['call'],
    async restart() {
      await kill(child);
      child = startNode(node, directory);
    },
    async close() {
      await kill(child);
      // What answers over IPv6 goes on without its daemon.
      for (const pid of pidsIn(node)) process.kill(pid, 'SIGKILL');
      for (const close of closers) close();
      for (const file of readdirSync(join(directory, 'netns'))) unmountAll(join(directory, 'netns', file));
      rmSync(directory, { recursive: true });
      for (const space of [node, client]) ip('netns', 'del', space);
    },
    async serve(netns, kind, port, text, address = '0.0.0.0') {
      const { fd } = await bindSocket(netns, kind === 'tcp' ? 'tcp-listen' : 'udp', address, port);
      closers.push(kind === 'tcp' ? await answerTcp(fd, text) : await answerUdp(fd, text));
    },
    async serveIpv6(netns, port, text) {
      const server = spawn('nsenter', [`--net=${netns}`, process.execPath, '-e', IPV6_SERVER, String(port), text], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      closers.push(() => server.kill('SIGKILL'));
      await once(server.stdout, 'data');
    },
  };
}

/** What a server answers to a caller in a namespace; undefined if nothing came within a second. */
export function answerOf(
  netns: string,
  kind: 'tcp' | 'udp',
  address: string,
  port: number,
): Promise<string | undefined> {
  const script = `exec 3<>/dev/${kind}/${address}/${port} || exit 1; echo hello >&3; head -n 1 <&3`;
  return run(netns, ['timeout', '3', 'bash', '-c', script]);
}

/** Runs a command in a namespace. @returns its output, trimmed; undefined if it failed or said nothing */
export async function run(netns: string, argv: readonly string[]): Promise<string | undefined> {
  const child = spawn('nsenter', [`--net=${netns}`, ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (output += part));
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0 && output.trim() !== '' ? output.trim() : undefined;
}

/** Output of a command in a namespace, whether it fails or not. */
export function show(netns: string, ...argv: readonly string[]): string {
  return spawnSync('nsenter', [`--net=${netns}`, ...argv], { encoding: 'utf8' }).stdout;
}

const IPV6_SERVER = `const [, port, text] = process.argv;
  require('net').createServer((socket) => socket.on('error', () => {})
    .end(socket.remoteAddress.startsWith('fd00:') ? text : text + ' ' + socket.remoteAddress))
    .listen(Number(port), '::', () => console.log('ready'))`;

/** Processes in a namespace. @param netns its file */
export function pidsIn(netns: string): readonly number[] {
  const { stdout } = spawnSync('ip', ['netns', 'pids', basename(netns)], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function startNode(netns: string, directory: string): ChildProcess {
  return fork(join(import.meta.dirname, 'node-process.ts'), [directory, 'test'], {
    execPath: '/usr/bin/nsenter',
    execArgv: [`--net=/var/run/netns/${netns}`, process.execPath],
  });
}

async function ask(child: ChildProcess, number: number, method: string, args: unknown[]): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const onReply = ({ number: answered, value, error }: Reply): void => {
    if (answered !== number) return;
    child.off('message', onReply).off('exit', onExit);
    if (!error) return resolve(value);
    const details = error.hint === undefined ? {} : { hint: error.hint };
    reject(error.code ? new TsswarmError(error.code, error.message, details) : new Error(error.message));
  };
  const onExit = (): void => reject(new Error(`the node's process ended during "${method}"`));
  child.on('message', onReply).on('exit', onExit);
  child.send({ number, method, args });
  return promise;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function answerTcp(fd: number, text: string): Promise<() => void> {
  const server: Server = createServer((socket) => socket.on('error', () => {}).end(`${text}\n`));
  server.listen({ fd });
  await once(server, 'listening');
  return () => server.close();
}

async function answerUdp(fd: number, text: string): Promise<() => void> {
  const socket = createSocket('udp4');
  socket.on('message', (_, { address, port }) => socket.send(`${text} ${address}\n`, port, address));
  const listening = once(socket, 'listening');
  // Says so before it returns when it is given a descriptor.
  socket.bind({ fd });
  await listening;
  return () => socket.close();
}

function unmountAll(path: string): void {
  try {
    for (;;) umount(path, 2);
  } catch {
    // Not mounted any more.
  }
}

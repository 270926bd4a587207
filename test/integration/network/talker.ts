/** A process that talks inside a network namespace: started by {@link openTalker}, told what to do by messages. */
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import type { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

const connections = new Map<string, Socket>();
const datagrams = new Map<string, DatagramSocket>();
const unanswered: (() => void)[] = [];

const METHODS = {
  /** Answers each line of a connection with the address that was called. */
  async serveTcp(port: number, address = '::'): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      const own = socket.localAddress?.replace('::ffff:', '') ?? '';
      const caller = socket.remoteAddress?.replace('::ffff:', '') ?? '';
      socket.on('data', () => socket.write(`${own} ${caller}\n`));
    });
    server.listen(port, address);
    await once(server, 'listening');
  },
  /** Answers each datagram with the address that it listens on. */
  async serveUdp(port: number, address: string): Promise<void> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (_, caller) => socket.send(`${address} ${caller.address}`, caller.port, caller.address));
    socket.bind(port, address);
    await once(socket, 'listening');
  },
  /** The same, but each answer waits until `answerNow`. */
  async serveUdpLater(port: number, address: string): Promise<void> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (_, caller) => unanswered.push(() => socket.send(address, caller.port, caller.address)));
    socket.bind(port, address);
    await once(socket, 'listening');
  },
  /** How many answers wait. */
  waiting(): Promise<number> {
    return Promise.resolve(unanswered.length);
  },
  /** Gives the answers that wait. @returns how many there were */
  answerNow(): Promise<number> {
    const all = unanswered.splice(0);
    for (const answer of all) answer();
    return Promise.resolve(all.length);
  },
  /**
   * Sends one datagram, never again, and waits for its answer.
   * @param from port of the caller; absent: any
   * @returns "nothing" if none has come after two seconds
   */
  async askUdpOnce(address: string, port: number, from = 0): Promise<string> {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    await new Promise<void>((resolve) => socket.bind(from, resolve));
    // Connected: nobody else's answer is heard.
    socket.connect(port, address, () => socket.send('hello'));
    const [data] = (await Promise.race([
      once(socket, 'message'),
      new Promise((resolve) => setTimeout(resolve, 2000, ['nothing'])),
    ])) as [Buffer | string];
    socket.close();
    return data.toString().split(' ')[0] ?? '';
  },
  /** "ok", or the error's code. */
  async connect(id: string, address: string, port: number): Promise<string> {
    const socket = connect({ host: address, port });
    connections.set(id, socket);
    return new Promise((resolve) => {
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      socket.on('connect', () => resolve('ok'));
    });
  },
  /** Sends a line and waits for the answer; "closed" when there comes none any more. */
  async say(id: string): Promise<string> {
    const socket = connections.get(id);
    if (socket === undefined) return 'closed';
    const answer = new Promise<string>((resolve) => {
      socket.once('data', (data: Buffer) => resolve(data.toString().trim()));
      socket.once('close', () => resolve('closed'));
    });
    socket.write('hello\n');
    return answer;
  },
  async close(id: string): Promise<void> {
    connections.get(id)?.destroy();
    connections.delete(id);
    await Promise.resolve();
  },
  /** What the endpoints answer to so many connections: how often each did. */
  async ask(address: string, port: number, times: number): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    for (let i = 0; i < times; i++) {
      const state = await METHODS.connect('ask', address, port);
      const answer = state === 'ok' ? ((await METHODS.say('ask')).split(' ')[0] ?? '') : state;
      await METHODS.close('ask');
      counts[answer] = (counts[answer] ?? 0) + 1;
    }
    return counts;
  },
  /** Opens connections for so long, eight at a time, and ends them at once. @returns how often each outcome was seen */
  async knock(address: string, port: number, forMs: number): Promise<Readonly<Record<string, number>>> {
    const counts: Record<string, number> = {};
    const end = performance.now() + forMs;
    const one = async (id: string): Promise<void> => {
      while (performance.now() < end) {
        const state = await METHODS.connect(id, address, port);
        // Without a trace: thousands of connections that linger would leave the caller without ports.
        connections.get(id)?.resetAndDestroy();
        counts[state] = (counts[state] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, index) => one(`knock ${index}`)));
    return counts;
  },
  /** Sends a datagram from a socket that stays, again until an answer comes. */
  async askUdp(id: string, address: string, port: number): Promise<string> {
    let socket = datagrams.get(id);
    if (socket === undefined) {
      socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
      datagrams.set(id, socket);
      socket.on('error', () => {});
    }
    const own = socket;
    const answer = once(own, 'message') as Promise<[Buffer]>;
    const send = (): void => own.send('hello', port, address, () => {});
    const again = setInterval(send, 200);
    send();
    const [data] = await answer;
    clearInterval(again);
    return data.toString().split(' ')[0] ?? '';
  },
};

type Methods = typeof METHODS;
interface Order {
  readonly number: number;
  readonly method: keyof Methods;
  readonly args: unknown[];
}

export interface Talker {
  call<M extends keyof Methods>(method: M, ...args: Parameters<Methods[M]>): ReturnType<Methods[M]>;
  close(): void;
}

/** @param netns file of the namespace */
export function openTalker(netns: string): Talker {
  const child = fork(import.meta.filename, ['talk'], {
    execPath: '/usr/bin/nsenter',
    execArgv: [`--net=${netns}`, process.execPath],
  });
  const waiting = new Map<number, (value: never) => void>();
  let number = 0;
  child.on('message', (reply: { readonly number: number; readonly value: unknown }) => {
    waiting.get(reply.number)?.(reply.value as never);
    waiting.delete(reply.number);
  });
  return {
    call: ((method: keyof Methods, ...args: unknown[]) =>
      new Promise((resolve) => {
        waiting.set(++number, resolve);
        child.send({ number, method, args } satisfies Order);
      })) as Talker['call'],
    close: () => void child.kill('SIGKILL'),
  };
}

if (process.argv[2] === 'talk' && process.send !== undefined) {
  process.on('message', ({ number, method, args }: Order) => {
    void (METHODS[method] as (...args: unknown[]) => Promise<unknown>)(...args).then((value) =>
      process.send?.({ number, value }),
    );
  });
}

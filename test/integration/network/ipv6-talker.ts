/** What a caller over IPv6 does and a server sees, each in a process of its own inside a network namespace: started by {@link talk}. */
import { spawn } from 'node:child_process';
import { createCipheriv, createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { buffer, text } from 'node:stream/consumers';

/** Bytes that are the same each time, and none of which can be missing or in another place unseen. */
const bytes = (size: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(size));
const hash = (data: Buffer): string => createHash('sha256').update(data).digest('hex').slice(0, 16);

/** The caller of this process has closed its input. */
const finished = process.argv[2] === 'talk' ? text(process.stdin) : new Promise<string>(() => {});

const METHODS = {
  /** Reads until the caller has ended, then sends as much back, slowly at first, and ends. */
  async serve(port: string) {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      void buffer(socket).then((data) =>
        setTimeout(() => socket.end(Buffer.concat([Buffer.from(hash(data)), data])), 50),
      );
    });
    server.listen(Number(port), '0.0.0.0');
    await once(server, 'listening');
    return 'ready';
  },
  /** Tears each connection as soon as something comes. */
  async tear(port: string) {
    const server = createServer((socket) => {
      socket.on('error', () => {}).on('data', () => socket.resetAndDestroy());
    });
    server.listen(Number(port), '0.0.0.0');
    await once(server, 'listening');
    return 'ready';
  },
  /** Says to each caller who it is, then repeats what comes. */
  async parrot(port: string) {
    const server = createServer((socket) => {
      socket.on('error', () => {}).write(`${socket.remoteAddress?.replace('::ffff:', '') ?? ''}\n`);
      socket.pipe(socket);
    });
    server.listen(Number(port), '::');
    await once(server, 'listening');
    return 'ready';
  },
  /** Answers each datagram with its size and the caller's address. */
  async echo(port: string) {
    const socket = createSocket('udp4');
    socket.on('message', (data, { address, port: to }) => socket.send(`${data.length} ${address}`, to, address));
    socket.bind(Number(port), '0.0.0.0');
    await once(socket, 'listening');
    return 'ready';
  },
  /** Sends so many bytes, ends its half, and compares what comes back; on a connection for each size. */
  async exchange(address: string, port: string, ...sizes: readonly string[]) {
    const one = async (size: string): Promise<string> => {
      const data = bytes(Number(size));
      const socket = connect({ host: address, port: Number(port), allowHalfOpen: true });
      socket.end(data);
      const answer = await buffer(socket);
      const isSame = answer.subarray(0, 16).toString() === hash(data) && answer.subarray(16).equals(data);
      return isSame ? `all ${data.length}` : `${answer.length} of ${data.length}`;
    };
    return (await Promise.all(sizes.map(one))).join(', ');
  },
  /** How the connection ends. */
  async ending(address: string, port: string) {
    const socket = connect({ host: address, port: Number(port) });
    const { promise, resolve } = Promise.withResolvers<string>();
    socket.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'error')).on('end', () => resolve('ended'));
    socket.on('connect', () => socket.write('hello'));
    return promise;
  },
  /** Calls a parrot from each of the addresses. @returns who these are to the server, in their order */
  async whom(address: string, port: string, ...own: readonly string[]) {
    const seen: string[] = [];
    for (const localAddress of own) {
      const socket = connect({ host: address, port: Number(port), localAddress });
      seen.push(String(((await once(socket, 'data')) as [Buffer])[0]).trim());
      socket.destroy();
    }
    return seen.join(' ');
  },
  /** Calls a parrot so many times at once; each call ends when its server has said who it is. */
  async crowd(address: string, port: string, count: string) {
    const sockets = Array.from({ length: Number(count) }, () => connect({ host: address, port: Number(port) }));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const greeted = sockets.map(async (socket) => {
      await once(socket, 'data');
      socket.destroy();
    });
    return `${(await Promise.all(greeted)).length} greeted`;
  },
  /** Talks to a parrot on one connection until it is told to finish. @returns at first who it is to the server, in the end "kept" or why it ended */
  async keep(address: string, port: string) {
    const socket = connect({ host: address, port: Number(port) });
    let end = '';
    socket.on('error', ({ code }: NodeJS.ErrnoException) => (end ||= code ?? 'error'));
    socket.on('close', () => (end ||= 'ended'));
    const own = String(((await once(socket, 'data')) as [Buffer])[0]).trim();
    void finished.then(async () => {
      if (end === '') {
        socket.write('still there?');
        await Promise.race([once(socket, 'data'), once(socket, 'close')]);
      }
      console.log(end || 'kept');
      process.exit();
    });
    return own;
  },
  /** Calls a parrot again and again until it is told to finish. @returns at first "ready", in the end how many calls failed, and why */
  async call(address: string, port: string) {
    const failures: string[] = [];
    let isOver = false;
    const one = async (): Promise<void> => {
      const socket = connect({ host: address, port: Number(port) });
      try {
        await once(socket, 'data', { signal: AbortSignal.timeout(5000) });
      } catch (error) {
        failures.push((error as NodeJS.ErrnoException).code ?? 'error');
      }
      socket.destroy();
    };
    await one();
    void finished.then(() => (isOver = true));
    void (async () => {
      while (!isOver) await one();
      console.log(`${failures.length} failed ${failures.join(' ')}`.trim());
      process.exit();
    })();
    return 'ready';
  },
  /** Sends datagrams of these sizes from one socket. @returns what is answered, and by whom */
  async ask(address: string, port: string, ...sizes: readonly string[]) {
    const socket = createSocket('udp6');
    const answers: string[] = [];
    for (const size of sizes) {
      const answer = once(socket, 'message') as Promise<[Buffer, { readonly address: string }]>;
      socket.send(Buffer.alloc(Number(size), 1), Number(port), address);
      const [data, from] = await answer;
      answers.push(`${data.toString()} by ${from.address}`);
    }
    socket.close();
    return answers.join(', ');
  },
} as const satisfies Record<string, (...args: readonly string[]) => Promise<string>>;

export interface Talk {
  /** The first thing that is said: of a caller the outcome, "ready" of a server. */
  readonly said: Promise<string>;
  /** Tells it to finish. @returns the last thing that it says */
  finish(): Promise<string>;
  /** Ends the process. */
  stop(): void;
}

/** @param netns file of the namespace */
export function talk<M extends keyof typeof METHODS>(netns: string, method: M, ...args: readonly string[]): Talk {
  const argv = [`--net=${netns}`, process.execPath, import.meta.filename, 'talk', method, ...args];
  const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {});
  const said = once(child.stdout.setEncoding('utf8'), 'data').then(([line]) => String(line).trim());
  return {
    said,
    async finish() {
      const last = once(child.stdout, 'data');
      child.stdin.end();
      return String((await last)[0]).trim();
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

if (process.argv[2] === 'talk') {
  const [, , , method = '', ...args] = process.argv;
  const run = METHODS[method as keyof typeof METHODS] as (...args: readonly string[]) => Promise<string>;
  void run(...args).then((line) => {
    console.log(line);
    // Callers are done, servers and those that go on are not.
    if (['exchange', 'ending', 'ask', 'whom', 'crowd'].includes(method)) process.exit();
  });
}

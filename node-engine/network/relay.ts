/**
 * The process tsrelay (node-engine/native/relay): started with the first port that needs it, found again by a daemon that starts, told which
 * ports are wanted. It ends by itself when there are none.
 */
import { closeSync, constants, existsSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket, connect } from 'node:net';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { backoffMs } from '../../base/async.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { startProgram } from '../native/addon.ts';
import type { RelayPort } from './relayed-ports.ts';
import { relayKey } from './relayed-ports.ts';

const PROGRAM = join(import.meta.dirname, '..', 'native', 'build', 'tsrelay');
const VERSION = '1';
/** A process that ends again and again is started so often. */
const AGAIN_MS = { base: 100, max: 30_000 };
/** One that has gone on for so long counts as new. */
const STEADY_MS = 60_000;

export interface RelayFailure {
  readonly port: RelayPort;
  /** "EADDRINUSE" */
  readonly code: string;
}

export interface RelayOptions {
  /** Of this daemon alone; is made and removed. */
  readonly directory: string;
  readonly logger: Logger;
  /** Runs a work when no other of these runs: all calls of the methods are such works. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
}

export class PortRelay {
  readonly #options: RelayOptions;
  #wanted: readonly RelayPort[] = [];
  #talk: Conversation | undefined;
  #isClosed = false;
  #ends = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Keys of what it listens to, also when an earlier daemon has said so. @throws NETWORK_FAILED */
  async listening(): Promise<ReadonlySet<string>> {
    this.#talk ??= await this.#find();
    return this.#talk?.listening ?? new Set();
  }

  /** Has it listen to these, and to what else it does. @returns what it could not have @throws NETWORK_FAILED */
  async take(ports: readonly RelayPort[]): Promise<readonly RelayFailure[]> {
    const keys = new Set(ports.map(relayKey));
    const others = this.#wanted.filter((port) => !keys.has(relayKey(port)));
    this.#wanted = [...others, ...ports];
    return this.#tell();
  }

  /** Has it let go of all but these. @returns whether there were others @throws NETWORK_FAILED */
  async release(ports: readonly RelayPort[]): Promise<boolean> {
    const keys = new Set(ports.map(relayKey));
    const others = [...(await this.listening())].filter((key) => !keys.has(key));
    this.#wanted = ports;
    if (others.length === 0) return false;
    await this.#tell();
    return true;
  }

  /** It goes on while it has ports. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#talk?.close();
    this.#talk = undefined;
  }

  async #say(): Promise<readonly RelayFailure[]> {
    for (let attempt = 0; ; attempt++) {
      const talk = (this.#talk ??= (await this.#find()) ?? (this.#wanted.length > 0 ? await this.#start() : undefined));
      if (talk === undefined) return [];
      try {
        return await talk.set(this.#wanted);
      } catch (error) {
        // It had nothing to do any more, and ended just then.
        this.#talk = undefined;
        if (attempt === 2) throw error;
      }
    }
  }

  /** Tells it what is wanted; where that fails it is tried again later. */
  async #tell(): Promise<readonly RelayFailure[]> {
    try {
      return await this.#say();
    } catch (error) {
      if (!this.#isClosed && this.#wanted.length > 0) this.#again();
      throw error;
    }
  }

  async #find(): Promise<Conversation | undefined> {
    const { directory } = this.#options;
    if (!existsSync(join(directory, 'control'))) return undefined;
    // The path of the socket may be longer than such paths can be.
    const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
    const socket = connect(`/proc/self/fd/${fd}/control`);
    socket.once('connect', () => resolve(socket)).once('error', () => resolve(undefined));
    const found = await promise;
    closeSync(fd);
    return found === undefined ? undefined : this.#greet(found);
  }

  async #start(): Promise<Conversation> {
    const { directory } = this.#options;
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const { fds, ended } = startProgram(PROGRAM, [directory], ['socket', 'nothing', 'nothing']);
      // What is started goes into the background: how it begins is heard by the socket.
      void ended.catch(() => undefined);
      return await this.#greet(new Socket({ fd: fds[0] ?? -1, readable: true, writable: true }));
    } catch (cause) {
      throw new TsswarmError('NETWORK_FAILED', `cannot start the relay of published ports: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  async #greet(socket: Socket): Promise<Conversation> {
    const since = performance.now();
    const { directory, logger } = this.#options;
    const talk = new Conversation(socket, logger, (wasAsked) => {
      if (this.#talk !== talk || this.#isClosed) return;
      this.#talk = undefined;
      if (performance.now() - since > STEADY_MS) this.#ends = 0;
      if (this.#wanted.length === 0) rmSync(directory, { recursive: true, force: true });
      // Who asked asks another one.
      if (this.#wanted.length === 0 || wasAsked) return;
      logger.warn('the relay of published ports has ended: it is started again', {});
      this.#again();
    });
    await talk.ready;
    return talk;
  }

  /** Tells it in a while what is wanted, and starts it before. */
  #again(): void {
    const { logger, inTurn } = this.#options;
    const delay = backoffMs(this.#ends++, AGAIN_MS.base, AGAIN_MS.max);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const restore = async (): Promise<void> => {
        if (this.#isClosed || this.#wanted.length === 0) return;
        for (const { port, code } of await this.#tell())
          logger.warn('a published port is not answered over IPv6', { port: relayKey(port), reason: code });
      };
      inTurn(restore).catch((error: unknown) => {
        logger.debug('the relay of published ports', { reason: messageOf(error) });
      });
    }, delay).unref();
  }
}

/** With one process; what is said is described in control.c. */
class Conversation {
  readonly ready: Promise<void>;
  listening: ReadonlySet<string> = new Set();
  readonly #socket: Socket;
  readonly #logger: Logger;
  readonly #begun = Promise.withResolvers<void>();
  #answer: PromiseWithResolvers<void> | undefined;
  #has = new Set<string>();
  #failed = new Map<string, string>();
  #rest = '';
  /** What was set last, and all of it could be had. */
  #settled = '';

  /** @param onEnd hears whether an answer was waited for */
  constructor(socket: Socket, logger: Logger, onEnd: (wasAsked: boolean) => void) {
    this.#socket = socket;
    this.#logger = logger;
    this.ready = this.#begun.promise;
    const lost = new Error('the relay of published ports has ended');
    socket.setEncoding('utf8').on('data', (part: string) => this.#hear(part));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#begun.reject(lost);
      this.#answer?.reject(lost);
      onEnd(this.#answer !== undefined);
    });
    // The daemon does not stay for it.
    socket.unref();
  }

  /** Has it listen to exactly these. @throws when it has ended */
  async set(ports: readonly RelayPort[]): Promise<readonly RelayFailure[]> {
    const lines = ports.map(
      ({ protocol, address, port, target }) => `port ${protocol} ${address} ${port} ${target} ${port}\n`,
    );
    const text = `${lines.join('')}set\n`;
    if (text === this.#settled) return [];
    if (this.#socket.destroyed) throw new Error('the relay of published ports has ended');
    this.#failed = new Map();
    this.#settled = '';
    this.#answer = Promise.withResolvers();
    this.#socket.write(text);
    await this.#answer.promise;
    this.#answer = undefined;
    const failures = ports.flatMap((port) => {
      const code = this.#failed.get(relayKey(port));
      return code === undefined ? [] : [{ port, code }];
    });
    if (failures.length === 0) this.#settled = text;
    this.listening = new Set(ports.map(relayKey).filter((key) => !this.#failed.has(key)));
    return failures;
  }

  close(): void {
    this.#socket.destroy();
  }

  #hear(part: string): void {
    const lines = (this.#rest + part).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
  }

  #take(line: string): void {
    const [word, ...values] = line.split(' ');
    const [protocol = '', address = '', port = '', code = ''] = values;
    const key = (): string => relayKey({ protocol: protocol as RelayPort['protocol'], address, port: Number(port) });
    if (word === 'relay' && protocol !== VERSION)
      this.#fail(`the relay that runs is of version ${protocol}, not ${VERSION}`);
    else if (word === 'error') this.#fail(values.join(' '));
    else if (word === 'has') this.#has.add(key());
    else if (word === 'ready') {
      this.listening = this.#has;
      this.#begun.resolve();
    } else if (word === 'failed') this.#failed.set(key(), nameOf(Number(code)));
    else if (word === 'done') this.#answer?.resolve();
    else if (word === 'full')
      this.#logger.warn(
        'the relay of published ports has no descriptors left: callers over IPv6 wait for others to end',
        {
          limit: Number(protocol),
          connections: Number(address),
          hint: 'raise the limit of open files (LimitNOFILE= of the service), then end the process tsrelay',
        },
      );
  }

  #fail(reason: string): void {
    this.#begun.reject(new Error(reason));
    this.#socket.destroy();
  }
}

const nameOf = (errno: number): string =>
  Object.entries(system.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;

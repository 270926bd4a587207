import { startRaft } from '../../manager/raft/loop.ts';
import type { StateMachine } from '../../manager/raft/loop.ts';
import type { Entry, Raft } from '../../manager/raft/types.ts';
import type { Contents, Found, Hooks, MemberOptions, Write } from './contents.ts';

/** A command of a client, as the log keeps it. */
interface Command {
  readonly kind: 'put' | 'cas';
  readonly key: string;
  /** Unique. */
  readonly value: string;
  readonly expected: string;
}

/** Registers by key: the smallest state machine on which a history can be checked. */
export class Registers implements Contents, StateMachine {
  #registers: Record<string, string> = {};
  /** What each command found, by the value it wrote; only those applied in this life. */
  readonly #found = new Map<string, string>();
  readonly #hooks: Hooks;
  #raft: Raft | undefined;

  constructor(hooks: Hooks) {
    this.#hooks = hooks;
  }

  async start(options: MemberOptions): Promise<Raft> {
    return (this.#raft = await startRaft({ ...options, machine: this }));
  }

  get(key: string): Found {
    return { value: this.#registers[key] ?? '' };
  }

  async write(writes: readonly Write[]): Promise<void> {
    for (const { operation } of writes) {
      const { kind, key, value, expected } = operation;
      await this.#raft?.propose(Buffer.from(JSON.stringify({ kind, key, value, expected })));
      const found = this.#found.get(value);
      if (found === undefined) this.#hooks.fail(`a command was acknowledged that was not applied: ${value}`);
      operation.result = found ?? '';
    }
  }

  describe(): string {
    return JSON.stringify(Object.entries(this.#registers).sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  apply(entry: Entry): void {
    this.#hooks.applied(entry);
    if (entry.kind !== 'command') return;
    const { kind, key, value, expected } = JSON.parse(Buffer.from(entry.payload).toString()) as Command;
    const before = this.#registers[key] ?? '';
    this.#found.set(value, before);
    if (kind === 'put' || before === expected) this.#registers[key] = value;
  }

  snapshot(): Iterable<Uint8Array> {
    return [Buffer.from(JSON.stringify(this.#registers))];
  }

  async restore({ index, data }: { readonly index: number; readonly data: Uint8Array }): Promise<void> {
    await this.#hooks.delay();
    this.#registers = JSON.parse(Buffer.from(data).toString()) as Record<string, string>;
    this.#hooks.restored(index);
  }
}

import type { StateMachine } from '../../manager/raft/loop.ts';
import type { Entry } from '../../manager/raft/types.ts';

/** A command of a client, as the log keeps it. */
export interface Command {
  readonly id: number;
  readonly kind: 'put' | 'cas';
  readonly key: string;
  readonly value: string;
  readonly expected: string;
}

/** Registers by key: the smallest state machine on which a history can be checked. */
export class RegisterMachine implements StateMachine {
  registers: Record<string, string> = {};
  /** What each command found, by its id; only those applied in this life. */
  readonly found = new Map<number, string>();
  readonly #applied: (entry: Entry) => void;
  readonly #restored: (index: number) => void;
  readonly #delay: () => Promise<void>;

  /** @param delay what restoring takes: other things happen meanwhile */
  constructor(applied: (entry: Entry) => void, restored: (index: number) => void, delay: () => Promise<void>) {
    this.#applied = applied;
    this.#restored = restored;
    this.#delay = delay;
  }

  apply(entry: Entry): void {
    this.#applied(entry);
    if (entry.kind !== 'command') return;
    const { id, kind, key, value, expected } = JSON.parse(Buffer.from(entry.payload).toString()) as Command;
    const before = this.registers[key] ?? '';
    this.found.set(id, before);
    if (kind === 'put' || before === expected) this.registers[key] = value;
  }

  snapshot(): Iterable<Uint8Array> {
    return [Buffer.from(JSON.stringify(this.registers))];
  }

  async restore({ index, data }: { readonly index: number; readonly data: Uint8Array }): Promise<void> {
    await this.#delay();
    this.registers = JSON.parse(Buffer.from(data).toString()) as Record<string, string>;
    this.#restored(index);
  }
}

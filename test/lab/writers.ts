import assert from 'node:assert/strict';
import { messageOf } from '../../base/errors.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService, membershipService } from '../../proto/rpc/services.ts';

/** How long a write is waited for; what comes later is of unknown outcome. */
const PATIENCE_MS = 8_000;

interface Register {
  readonly node: string;
  readonly key: string;
  acknowledged: number;
  /** Set once: the key is not written any more then, because the late write may still come. */
  uncertain: number | undefined;
}

/**
 * Clients that count up in labels of nodes, each in its own keys, through a manager drawn for every write. A key whose write had
 * no answer is left alone: it must hold that value or the one before for ever.
 */
export class Writers {
  readonly #sockets: readonly string[];
  readonly #draw: () => number;
  readonly #registers: Register[] = [];
  readonly #life = new AbortController();
  #loops: Promise<void> = Promise.resolve();
  /** When the last write was accepted that was sent after `since` (performance.now). */
  readonly #accepted: { sent: number; answered: number }[] = [];
  acknowledged = 0;
  unknown = 0;
  refused = 0;

  /** @param draw a number from 0 to 1 */
  constructor(sockets: readonly string[], draw: () => number) {
    this.#sockets = sockets;
    this.#draw = draw;
  }

  start(nodes: readonly string[]): void {
    this.#loops = Promise.all(nodes.map((node, index) => this.#write(node, index))).then(() => undefined);
  }

  async stop(): Promise<void> {
    this.#life.abort();
    await this.#loops;
  }

  /** ms until a write was accepted that was sent after `since`; undefined: none was yet. */
  acceptedAfter(since: number): number | undefined {
    const first = this.#accepted.find(({ sent }) => sent >= since);
    return first === undefined ? undefined : first.answered - since;
  }

  async #write(node: string, index: number): Promise<void> {
    const fresh = (generation: number): Register => {
      const register = { node, key: `w${index}.${generation}`, acknowledged: 0, uncertain: undefined };
      this.#registers.push(register);
      return register;
    };
    let register = fresh(0);
    for (let generation = 1; !this.#life.signal.aborted;) {
      const socket = this.#sockets[Math.floor(this.#draw() * this.#sockets.length)] ?? '';
      const connection = connectLocal(socket);
      const value = register.acknowledged + 1;
      const sent = performance.now();
      try {
        const request = { node, addLabels: { [register.key]: String(value) }, removeLabels: [] };
        await connection.service(membershipService).updateNode(request, AbortSignal.timeout(PATIENCE_MS));
        register.acknowledged = value;
        this.acknowledged++;
        this.#accepted.push({ sent, answered: performance.now() });
        if (this.#accepted.length > 1000) this.#accepted.splice(0, 500);
      } catch (error) {
        if (/none is running|ENOENT|ECONNREFUSED|no manager leads/.test(messageOf(error))) this.refused++;
        else {
          this.unknown++;
          register.uncertain = value;
          register = fresh(generation++);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      } finally {
        connection.close();
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Holds what every manager answers against what was acknowledged. @throws AssertionError when a write was lost */
  async check(): Promise<void> {
    for (const socket of this.#sockets) {
      // Written on meanwhile: what was acknowledged before the question must be in the answer.
      const before = this.#registers.map((register) => ({ ...register }));
      const connection = connectLocal(socket);
      try {
        const { nodes } = await connection.service(controlService).listNodes({}, AbortSignal.timeout(PATIENCE_MS));
        for (const { node, key, acknowledged, uncertain } of before) {
          const labels = nodes.find(({ description }) => description.hostname === node)?.spec.labels;
          const found = Number(labels?.[key] ?? 0);
          assert.ok(found >= acknowledged, `${key} of ${node} is ${found}, acknowledged was ${acknowledged}`);
          if (uncertain !== undefined) assert.ok(found <= uncertain, `${key} of ${node} is ${found}, never written`);
        }
      } finally {
        connection.close();
      }
    }
  }
}

import type { RaftMessage, Server, Transport } from '../../manager/raft/types.ts';
import type { Profile, Shape } from './profile.ts';
import type { Life, World } from './world.ts';

/** Whoever listens at an address. */
export interface Listener {
  readonly life: Life;
  receive: ((messages: readonly RaftMessage[]) => void) | undefined;
}

/** Links that lose, delay, double and reorder, and that can be cut in each direction. */
export class Network {
  readonly listeners = new Map<string, Listener>();
  readonly #cut = new Set<string>();
  readonly #world: World;
  readonly #shape: Shape;
  readonly #profile: () => Profile;
  readonly #sent: (message: RaftMessage) => void;

  /** @param sent sees every message that leaves a server, also those that will be lost */
  constructor(world: World, shape: Shape, profile: () => Profile, sent: (message: RaftMessage) => void) {
    this.#world = world;
    this.#shape = shape;
    this.#profile = profile;
    this.#sent = sent;
  }

  cut(from: string, to: string): void {
    this.#cut.add(`${from}>${to}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Mends the link between two, in both directions. */
  join(a: string, b: string): void {
    this.#cut.delete(`${a}>${b}`);
    this.#cut.delete(`${b}>${a}`);
  }

  passes(from: string, to: string): boolean {
    return !this.#cut.has(`${from}>${to}`);
  }

  /** The transport of one life of a server. */
  transport(address: string, life: Life): Transport {
    const listener: Listener = { life, receive: undefined };
    this.listeners.set(address, listener);
    return {
      send: (to, messages) => {
        if (life.alive) this.#send(address, to, messages);
      },
      onMessages: (receive) => {
        listener.receive = receive;
      },
      close: () => Promise.resolve(),
    };
  }

  #send(from: string, to: Server, messages: readonly RaftMessage[]): void {
    const world = this.#world;
    const { drop, duplicate, slowMessage, slowMessageMs } = this.#profile();
    for (const message of messages) {
      this.#sent(message);
      if (this.#cut.has(`${from}>${to.address}`)) continue;
      for (let copies = world.chance(duplicate) ? 2 : 1; copies > 0; copies--) {
        if (world.chance(drop)) continue;
        const delay = world.chance(slowMessage)
          ? world.between(0, slowMessageMs)
          : world.between(this.#shape.delayMs / 2, this.#shape.delayMs * 1.5);
        world.after(delay, () => this.#deliver(from, to.address, message), undefined, 3);
      }
    }
  }

  #deliver(from: string, address: string, message: RaftMessage): void {
    const listener = this.listeners.get(address);
    if (listener === undefined || !listener.life.alive || this.#cut.has(`${from}>${address}`)) return;
    this.#world.enter(listener.life, () => listener.receive?.([message]), 3);
  }
}

import { execFileSync, spawnSync } from 'node:child_process';

/** Network namespaces on a bridge in a namespace of its own: what a peer runs in touches nothing of the machine's network. */
export class Wire {
  readonly #name: string;
  readonly #count: number;

  /** @param name of the namespaces; nobody else's */
  constructor(name: string, count: number) {
    this.#name = name;
    this.#count = count;
    ip('netns', 'add', this.#bridge);
    ip('-n', this.#bridge, 'link', 'add', 'bridge', 'type', 'bridge');
    ip('-n', this.#bridge, 'link', 'set', 'bridge', 'up');
    for (let index = 0; index < count; index++) {
      const [namespace, port] = [this.namespace(index), `port${index}`];
      ip('netns', 'add', namespace);
      ip('-n', namespace, 'link', 'set', 'lo', 'up');
      ip('-n', namespace, 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', port, 'netns', this.#bridge);
      ip('-n', this.#bridge, 'link', 'set', port, 'master', 'bridge', 'up');
      ip('-n', namespace, 'address', 'add', `${this.address(index)}/24`, 'dev', 'wire');
      ip('-n', namespace, 'link', 'set', 'wire', 'up');
    }
  }

  namespace(index: number): string {
    return `${this.#name}${index}`;
  }

  address(index: number): string {
    return `10.78.0.${index + 1}`;
  }

  remove(): void {
    for (const name of [...Array(this.#count).keys()].map((index) => this.namespace(index)).concat(this.#bridge))
      spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
  }

  get #bridge(): string {
    return `${this.#name}sw`;
  }
}

function ip(...argv: readonly string[]): void {
  execFileSync('ip', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
}

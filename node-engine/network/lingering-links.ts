/**
 * The node's ends of interfaces whose containers are gone. The kernel takes them away with the namespace, but a namespace lives as long as
 * a connection in it: one that its program has closed, and whose other end died before it heard of it, is tried for up to two minutes
 * (tcp_orphan_retries, ip-sysctl.rst). What is still there after a while is removed by hand; to do so at once would cost each stop a
 * grace period of the kernel.
 */
import type { ContainerId } from '../../base/ids.ts';
import { kernel, tryKernel } from './kernel.ts';
import { isVethOf } from './names.ts';
import { deleteLinkAt, getLink, linksOf } from './route.ts';

const PATIENCE_MS = 10_000;

/** One that may be left; what it is called tells whether it is one. */
export interface LingeringLink {
  readonly id: ContainerId;
  /** The kernel gives no number twice. */
  readonly index: number;
}

export class LingeringLinks {
  #links: readonly LingeringLink[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> = Promise.resolve();

  /** Their namespace has been let go of. */
  add(links: readonly LingeringLink[]): void {
    if (links.length === 0) return;
    this.#links = [...this.#links, ...links];
    this.#timer ??= setTimeout(() => this.#sweep(), PATIENCE_MS).unref();
  }

  /** Removes what is left, now. */
  async close(): Promise<void> {
    this.#sweep();
    await this.#sweeping;
  }

  #sweep(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const links = this.#links;
    this.#links = [];
    if (links.length > 0) this.#sweeping = this.#sweeping.then(() => removeThose(links)).catch(() => undefined);
  }
}

/** Whoever made interfaces inside may have paired them with anything: only ours are removed. */
async function removeThose(links: readonly LingeringLink[]): Promise<void> {
  const { outside } = await kernel('removed containers', { outside: links.map(({ index }) => getLink(index)) });
  const there = new Map(linksOf(outside).map(({ index, name }) => [index, name]));
  const left = links.filter(({ id, index }) => isVethOf(id, there.get(index) ?? ''));
  if (left.length > 0) await tryKernel({ outside: left.map(({ index }) => deleteLinkAt(index)) });
}

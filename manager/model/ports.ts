import { addressesClash } from '../../base/host-address.ts';
import { isOpenPort, numbersOf } from '../../base/published-port.ts';
import type { PublishedPort } from '../../proto/types/index.ts';

/** Whether two ports cannot be published on the same machine. One that is still to be chosen clashes with none. */
export const portsClash = (a: PublishedPort, b: PublishedPort): boolean =>
  !isOpenPort(a) &&
  !isOpenPort(b) &&
  a.published === b.published &&
  a.protocol === b.protocol &&
  addressesClash(a.hostIp, b.hostIp);

/** A wished port with a number. */
export function numbered({ publishedEnd: _, ...port }: PublishedPort, published: number): PublishedPort {
  return { ...port, published };
}

/** Whether `chosen` is a port as `wanted` wishes it. */
export function isChoiceOf(wanted: PublishedPort, chosen: PublishedPort): boolean {
  const [first, last] = numbersOf(wanted);
  return (
    !isOpenPort(chosen) &&
    wanted.target === chosen.target &&
    wanted.protocol === chosen.protocol &&
    wanted.mode === chosen.mode &&
    wanted.hostIp === chosen.hostIp &&
    wanted.source === chosen.source &&
    first <= chosen.published &&
    chosen.published <= last
  );
}

/**
 * The port with the first number that is free; itself where its number is named.
 * @param preferred numbers that are taken before the others, where they are of the range
 * @returns undefined: none is free
 */
export function choosePort(
  wanted: PublishedPort,
  isTaken: (port: PublishedPort) => boolean,
  preferred: readonly PublishedPort[] = [],
): PublishedPort | undefined {
  if (!isOpenPort(wanted)) return wanted;
  const kept = preferred.find((port) => isChoiceOf(wanted, { ...port, mode: wanted.mode }) && !isTaken(port));
  if (kept !== undefined) return numbered(wanted, kept.published);
  const [first, last] = numbersOf(wanted);
  for (let number = first; number <= last; number++) {
    const port = numbered(wanted, number);
    if (!isTaken(port)) return port;
  }
  return undefined;
}

/** Ports that are in use, found by their number. */
export class PortBook {
  readonly #ports = new Map<string, PublishedPort[]>();

  add(port: PublishedPort): void {
    if (isOpenPort(port)) return;
    const known = this.#ports.get(keyOf(port));
    if (known === undefined) this.#ports.set(keyOf(port), [port]);
    else known.push(port);
  }

  /** Whether one is in the way of `port`, which has a number. */
  has(port: PublishedPort): boolean {
    return this.#ports.get(keyOf(port))?.some((other) => portsClash(other, port)) === true;
  }
}

const keyOf = ({ protocol, published }: PublishedPort): string => `${protocol}/${published}`;

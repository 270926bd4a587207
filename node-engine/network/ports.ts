/**
 * Holds the node's published ports against other processes, as Docker's proxy does by listening: a socket bound to each
 * port, which answers nothing, for the rules take the packets before it could. So a port that another process holds is
 * found out, and nobody takes one of ours. The kernel lets go of them when the daemon ends; the rules stay. What the relay
 * (relay.ts) listens to is held by it.
 */
import { isIP, isIPv4 } from 'node:net';
import { closeSync } from 'node:fs';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { addressesClash } from '../../base/host-address.ts';
import { bindSocket } from '../native/addon.ts';
import type { PortForward } from '../types.ts';
import { portOwner } from './port-owner.ts';
import { needsRelay, relayKey } from './relayed-ports.ts';

export interface RefusedForward {
  readonly forward: PortForward;
  readonly reason: string;
}

export interface Reservation {
  readonly held: readonly PortForward[];
  readonly refused: readonly RefusedForward[];
}

export class PortReservations {
  /** Key of a forward → descriptor of its socket; -1 where the protocol has none here. */
  readonly #held = new Map<string, number>();

  /**
   * Lets go of all ports but these and takes those that are new.
   * @param relayed keys of what the relay listens to: not taken, whoever shall have it
   */
  async hold(forwards: readonly PortForward[], relayed: ReadonlySet<string> = new Set()): Promise<Reservation> {
    const wanted = new Map<string, PortForward>();
    const refused: RefusedForward[] = [];
    for (const given of forwards) {
      const fault = faultOf(given) ?? (clashes(given, wanted.values()) ? allocated(given) : undefined);
      if (fault === undefined) wanted.set(keyOf(given), given);
      else refused.push({ forward: given, reason: fault });
    }
    const claimed = new Set([...wanted.values()].flatMap((forward) => claimsOf(forward).map(keyOf)));
    for (const [key, fd] of this.#held) {
      if (claimed.has(key)) continue;
      if (fd >= 0) closeSync(fd);
      this.#held.delete(key);
    }
    const held: PortForward[] = [];
    // Verdicts in the order that was asked: sockets are bound side by side, and end in an order of their own.
    const verdicts = await Promise.all([...wanted.values()].map((forward) => this.#verdict(forward, relayed)));
    for (const verdict of verdicts)
      if ('reason' in verdict) refused.push(verdict);
      else held.push(verdict.left);
    return { held, refused };
  }

  close(): void {
    for (const fd of this.#held.values()) if (fd >= 0) closeSync(fd);
    this.#held.clear();
  }

  /** @returns why it is refused, or what of it is held now */
  async #verdict(
    forward: PortForward,
    relayed: ReadonlySet<string>,
  ): Promise<RefusedForward | { readonly left: PortForward }> {
    const claims = claimsOf(forward).filter((claim) => !this.#held.has(keyOf(claim)) && !isRelayed(claim, relayed));
    const troubles = await Promise.all(claims.map((claim) => this.#take(keyOf(claim), claim)));
    const trouble = troubles.find((one) => one !== undefined);
    if (trouble === undefined) return { left: forward };
    const left = withoutAddress(forward, trouble);
    return left === undefined ? { forward, reason: trouble.reason } : { left };
  }

  /** @returns why it cannot be taken */
  async #take(key: string, forward: Claim): Promise<PortTrouble | undefined> {
    const kind = ({ tcp: 'tcp-reserve', udp: 'udp', sctp: 'sctp-reserve' } as const)[forward.protocol];
    try {
      const { fd } = await bindSocket('', kind, forward.hostIp, forward.port);
      this.#held.set(key, fd);
      return undefined;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EPROTONOSUPPORT' && forward.protocol === 'sctp') {
        this.#held.set(key, -1);
        return undefined;
      }
      return troubleOf(forward, code, messageOf(error));
    }
  }
}

/** Why a port cannot be had. */
export interface PortTrouble {
  readonly reason: string;
  /** Its address is that of another node perhaps. */
  readonly isElsewhere: boolean;
}

/** @param code of the error that binding its socket has given */
export function troubleOf(port: Claim, code: string | undefined, message: string): PortTrouble {
  if (code === 'EADDRINUSE') return { reason: inUse(port), isElsewhere: false };
  if (code === 'EADDRNOTAVAIL')
    return { reason: `the address "${port.hostIp}" is not an address of this node`, isElsewhere: true };
  return { reason: `cannot take the port ${portText(port)}: ${message}`, isElsewhere: false };
}

/** What is left of a port on a node that does not have its address: other nodes hand it over. Undefined: nothing. */
export function withoutAddress(forward: PortForward, { isElsewhere }: PortTrouble): PortForward | undefined {
  return isElsewhere && forward.meshBackends !== undefined ? { ...forward, backends: [] } : undefined;
}

function isRelayed({ protocol, hostIp, port }: Claim, keys: ReadonlySet<string>): boolean {
  return protocol !== 'sctp' && !isIPv4(hostIp) && keys.has(relayKey({ protocol, address: hostIp, port }));
}

function faultOf(forward: PortForward): string | undefined {
  const { hostIp, port, backends } = forward;
  if (hostIp !== '' && (isIP(hostIp) === 0 || hostIp.includes('%')))
    return `cannot publish on "${hostIp}": expected an IP address`;
  const isOfIpv6 = hostIp !== '' && !isIPv4(hostIp);
  if (isOfIpv6 && backends.length > 0 && backends.every(({ ipv6 }) => ipv6 === undefined) && !needsRelay(forward)) {
    const why = forward.keepsSource === true ? 'x-source: keep' : forward.protocol;
    return `cannot publish on "${hostIp}" with ${why}: no network of the containers that a port leads to has IPv6 (enable_ipv6)`;
  }
  const all = [port, ...backends.map((backend) => backend.port)];
  const wrong = all.find((value) => !Number.isInteger(value) || value < 1 || value > 65535);
  return wrong === undefined ? undefined : `cannot publish the port ${wrong}: expected a number from 1 to 65535`;
}

type Claim = Pick<PortForward, 'protocol' | 'hostIp' | 'port'>;

/** The addresses on which a socket is held here: of IPv6 while the kernel leads it somewhere. */
function claimsOf(forward: PortForward): readonly Claim[] {
  const { protocol, hostIp, port, backends } = forward;
  if (hostIp !== '') return needsRelay(forward) ? [] : [{ protocol, hostIp, port }];
  const isDual = backends.some(({ ipv6 }) => ipv6 !== undefined);
  return ['0.0.0.0', ...(isDual ? ['::'] : [])].map((address) => ({ protocol, hostIp: address, port }));
}

/** One socket cannot hold a port on all addresses while another holds it on one of them. */
function clashes(forward: PortForward, others: Iterable<PortForward>): boolean {
  for (const other of others) {
    const same = other.protocol === forward.protocol && other.port === forward.port;
    if (same && addressesClash(other.hostIp, forward.hostIp)) return true;
  }
  return false;
}

function allocated(forward: PortForward): string {
  return `port is already allocated: ${portText(forward)}`;
}

function inUse(forward: Claim): string {
  const owner = portOwner(forward.protocol, forward.hostIp || '0.0.0.0', forward.port);
  const who = owner === undefined ? 'another process' : `another process (${owner.command}, pid ${owner.pid})`;
  return `port is already in use by ${who}: ${portText(forward)}`;
}

export function portText({ hostIp, port, protocol }: Claim): string {
  const isAny = hostIp === '' || hostIp === '0.0.0.0';
  return `${isAny ? '' : `${isIPv4(hostIp) ? hostIp : `[${hostIp}]`}:`}${port}/${protocol}`;
}

function keyOf({ protocol, hostIp, port }: Claim): string {
  return `${protocol}/${hostIp}/${port}`;
}

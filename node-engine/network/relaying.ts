/** What the relay (relay.ts) has to do with each change of the published ports. */
import { errnoOf, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { PortForward } from '../types.ts';
import { hasIpv6 } from './ipv6.ts';
import type { Reservation } from './ports.ts';
import { portText, troubleOf, withoutAddress } from './ports.ts';
import type { RelayFailure, RelayOptions } from './relay.ts';
import { PortRelay } from './relay.ts';
import { losesIpv6, needsRelay, relayKey, relayPortOf, ruledForward } from './relayed-ports.ts';

export class Relaying {
  readonly #relay: PortRelay;
  readonly #logger: Logger;
  /** What the log was told last. */
  #told = { trouble: '', without: '' };

  constructor(options: RelayOptions) {
    this.#relay = new PortRelay(options);
    this.#logger = options.logger;
  }

  /** Keys of what it listens to: nobody else can hold it meanwhile. */
  async listening(): Promise<ReadonlySet<string>> {
    return (await this.#tried(() => this.#relay.listening())) ?? new Set();
  }

  /** Has it listen to those of the ports that need it, beside all others that it has. @returns the ports that can be had, as the rules have them */
  async take(forwards: readonly PortForward[]): Promise<Reservation> {
    this.#tellWithout(forwards);
    const relayed = forwards.filter(needsRelay);
    const failures = hasIpv6()
      ? await this.#tried(() => this.#relay.take(relayed.map(relayPortOf)))
      : relayed.map((forward): RelayFailure => ({ port: relayPortOf(forward), code: 'EADDRNOTAVAIL' }));
    if (failures !== undefined) this.#told.trouble = '';
    const codes = new Map(failures?.map(({ port, code }) => [relayKey(port), code]));
    const verdicts = forwards.map((forward) => {
      const code = needsRelay(forward) ? codes.get(relayKey(relayPortOf(forward))) : undefined;
      // Where there is no IPv6, or no relay, ports on all addresses are those of IPv4.
      const isLacking = failures === undefined && forward.hostIp !== '' && needsRelay(forward);
      if (isLacking) return { forward, trouble: { reason: this.#told.trouble, isElsewhere: false } };
      if (code === undefined || (forward.hostIp === '' && !hasIpv6())) return { forward };
      return { forward, trouble: troubleOf({ ...forward, hostIp: relayPortOf(forward).address }, code, code) };
    });
    return {
      held: verdicts.flatMap(({ forward, trouble }) => {
        const ruled = ruledForward(forward);
        return trouble === undefined ? ruled : (withoutAddress(ruled, trouble) ?? []);
      }),
      refused: verdicts.flatMap(({ forward, trouble }) =>
        trouble === undefined || withoutAddress(forward, trouble) ? [] : [{ forward, reason: trouble.reason }],
      ),
    };
  }

  /** Has it let go of what these do not need. @returns whether there was any */
  async release(forwards: readonly PortForward[]): Promise<boolean> {
    const ports = hasIpv6() ? forwards.filter(needsRelay).map(relayPortOf) : [];
    return (await this.#tried(() => this.#relay.release(ports))) ?? false;
  }

  /** It goes on while it has ports. */
  close(): void {
    this.#relay.close();
  }

  /** IPv4 does not depend on it. @returns undefined: it failed, and the log says why */
  async #tried<T>(work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      const reason = errnoOf(error) ?? messageOf(error);
      if (reason !== this.#told.trouble) this.#logger.warn('published ports do not answer over IPv6', { reason });
      this.#told.trouble = reason;
      return undefined;
    }
  }

  #tellWithout(forwards: readonly PortForward[]): void {
    const ports = forwards.filter(losesIpv6).map(portText).sort().join(', ');
    if (ports !== '' && ports !== this.#told.without)
      this.#logger.warn('ports with x-source: keep do not answer over IPv6: no network of their containers has it', {
        ports,
        hint: 'enable_ipv6: true on the network, or no x-source: callers over IPv6 are then seen as the node',
      });
    this.#told.without = ports;
  }
}

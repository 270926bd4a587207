/**
 * The resolver at 127.0.0.11 of each container: knows the names on the container's networks and passes other questions on
 * to the node's name servers.
 */
import { KeyedQueue } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import type { Random } from '../../../base/random.ts';
import type { NamespaceGuard } from '../../../node-engine/network/index.ts';
import { RESOLVER_ADDRESS, RESOLVER_TABLE, openResolverSockets } from '../../../node-engine/network/index.ts';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import { decide, serverFailure, withoutUpstream } from './answer.ts';
import type { NameChange } from './records.ts';
import { Records } from './records.ts';
import { nameserversOf } from './resolv-conf.ts';
import type { Answerer } from './server.ts';
import { serveDns } from './server.ts';
import { askUpstream } from './upstream.ts';

export type { NameChange } from './records.ts';

/** Questions that one container may have under way at other servers; more are answered with a failure. */
const MAX_FORWARDED = 1024;

export interface ResolverOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** "shop_default" for its id; undefined if unknown: `<name>.<network>` is then not understood. */
  readonly networkName: (id: NetworkId) => string | undefined;
  /** Names the servers to ask about other names; read again when it changes. "/etc/resolv.conf" */
  readonly resolvConf: string;
  /** Hears when somebody in a container changes the rules there; absent: they stay as they are then. */
  readonly guard?: NamespaceGuard;
  /**
   * Has virtual addresses lead somewhere in a container, if they do not yet.
   * @returns undefined: they do; else, when that is decided, whether they do now
   */
  readonly virtualAddresses?: (id: ContainerId) => Promise<boolean> | undefined;
}

export interface ResolverAttachment {
  readonly containerId: ContainerId;
  /** File of the container's network namespace; empty (it is in the node's): there is nothing to serve. */
  readonly netnsPath: string;
  /** In the container's order: the first network that knows a name answers. */
  readonly networks: readonly NetworkId[];
  /** Servers to ask instead of the node's; empty: the node's. */
  readonly dns: readonly string[];
  /** Names that services have for this container alone; absent: none. */
  readonly links?: readonly { readonly service: string; readonly alias: string }[];
  /** Its processes run and may be asking: sockets that are open stay open. Absent: they are made anew, as is what leads to them. */
  readonly running?: boolean;
}

export interface Resolver {
  /** Takes over what has changed of the names; the next question is answered by it. */
  changeNames(change: NameChange): void;
  /**
   * Begins to serve a container, or changes how: repeating it is allowed, also after a restart of the daemon.
   * @throws NETWORK_FAILED
   */
  attach(attachment: ResolverAttachment): Promise<void>;
  /** Ends it; not attached is success. Without it the container's network namespace lives on. */
  detach(containerId: ContainerId): Promise<void>;
  close(): void;
}

export function createResolver(options: ResolverOptions): Resolver {
  const { clock, random, networkName } = options;
  const servers = new Map<ContainerId, { close(): void; answer: Answerer }>();
  const queue = new KeyedQueue();
  const nodeServers = nameserversOf(options.resolvConf);
  const records = new Records();

  const answererFor = ({ containerId, networks, dns, links = [] }: ResolverAttachment): Answerer => {
    // Our own address would lead back to us.
    const own = dns.filter((server) => server !== RESOLVER_ADDRESS);
    const forward = forwarder(clock, () => (dns.length > 0 ? own : nodeServers()));
    const linked = new Map(links.map(({ service, alias }) => [alias.toLowerCase(), service.toLowerCase()]));
    return (message, transport) => {
      const asked = networks.map((id) => ({ id, name: networkName(id) ?? '' }));
      const decision = decide({ records, networks: asked, links: linked, transport, message }, random);
      if (decision.kind === 'ignore') return undefined;
      if (decision.kind === 'forward') return forward(message, transport);
      const { message: answer } = decision;
      const leads = decision.isVirtual === true ? options.virtualAddresses?.(containerId) : undefined;
      // Who is told that nobody can say asks again.
      return leads === undefined ? answer : leads.then((is) => (is ? answer : serverFailure(message)));
    };
  };

  return {
    changeNames: (change) => records.change(change),
    async attach(attachment) {
      const { containerId, netnsPath } = attachment;
      if (netnsPath === '') return;
      await queue.run(containerId, async () => {
        const known = servers.get(containerId);
        const answer = answererFor(attachment);
        if (known !== undefined && attachment.running === true) {
          known.answer = answer;
          return;
        }
        const sockets = await openResolverSockets(netnsPath, `container "${containerId.slice(0, 12)}"`);
        known?.close();
        const server = serveDns(sockets, (...question) => served.answer(...question));
        const unguard = options.guard?.guard(netnsPath, [RESOLVER_TABLE], () => sockets.repair());
        const served = {
          close() {
            unguard?.();
            server.close();
          },
          answer,
        };
        servers.set(containerId, served);
      });
    },
    async detach(containerId) {
      await queue.run(containerId, async () => {
        servers.get(containerId)?.close();
        servers.delete(containerId);
      });
    },
    close() {
      for (const server of servers.values()) server.close();
      servers.clear();
    },
  };
}

/**
 * Passes questions on. The same question while one is under way joins it: a container that is itself the node's name server
 * (a Pi-hole that asks us what it was asked) would go in circles otherwise.
 */
function forwarder(
  clock: Clock,
  upstream: () => readonly string[],
): (...args: Parameters<Answerer>) => Promise<Buffer> {
  const running = new Map<string, Promise<Buffer | undefined>>();
  return async (message, transport) => {
    const servers = upstream();
    if (servers.length === 0) return withoutUpstream(message);
    const key = `${transport} ${message.subarray(2).toString('latin1')}`;
    let reply = running.get(key);
    if (!reply) {
      if (running.size >= MAX_FORWARDED) return serverFailure(message);
      reply = askUpstream(clock, servers, transport, message).finally(() => running.delete(key));
      running.set(key, reply);
    }
    const answer = await reply;
    if (!answer) return withoutUpstream(message);
    const own = Buffer.from(answer);
    own.writeUInt16BE(message.readUInt16BE(0), 0);
    return own;
  };
}

import { TsswarmError } from '../../../base/errors.ts';
import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import { rootDigest } from '../../../base/join-token.ts';
import { silentLogger } from '../../../base/log.ts';
import { clusterOf } from '../../../manager/ca/cluster.ts';
import { issuerDigest, trustedRoots } from '../../../manager/ca/issue.ts';
import { rotationProgress, startCaRotation } from '../../../manager/ca/rotation.ts';
import { createCa } from '../../../manager/ca/server.ts';
import type { ResumableStore } from '../../../manager/store/types.ts';
import type { Caller } from '../../../proto/rpc/caller.ts';
import { certificatesOf, identityOf, verifyChain } from '../../../proto/rpc/certificate.ts';
import type { LiveIdentity, TlsIdentity } from '../../../proto/rpc/live-identity.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import { caService } from '../../../proto/rpc/services.ts';
import type { Cluster, Node, NodeCertificate, NodeRole } from '../../../proto/types/index.ts';
import type { CaClient } from '../../../worker/identity/client.ts';
import { keepIdentity } from '../../../worker/identity/loop.ts';
import type { Life, World } from '../world.ts';
import { seededMint } from './mint.ts';
import type { Lifetimes } from './mint.ts';
import type { End, Wires } from './wires.ts';

/** Wall time of the world, ms, at its begin. */
const EPOCH = 1_700_000_000_000;
/** How long a node's disk takes for its new identity, at most. */
const SAVE_MS = 20;
/** Clocks that differ by more cannot live with certificates of a minute. */
const SHORT_LIVES_SKEW_MS = 1000;
const HOUR_MS = 3600_000;

/** A process that keeps the identity of its node. */
interface Keeper {
  readonly end: End;
  readonly clock: Clock;
  begun: boolean;
}

/**
 * The identities of all nodes: certificates that end within a minute or three, the product's CA on the managers and its renewal on
 * every node, roots that are rotated. A certificate that does not hold is refused by the CA as by the product's port.
 */
export class Identities {
  readonly lifetimes: Lifetimes;
  /** Whether certificates are renewed, and could end, in the time of a run. */
  readonly areShort: boolean;
  /** Certificates that nodes have got, and rotations that were begun. */
  readonly counts = { certificates: 0, caRotations: 0 };
  readonly #world: World;
  readonly #wires: Wires;
  readonly #managers: () => readonly string[];
  readonly #mint: ReturnType<typeof seededMint>;
  readonly #disks = new Map<NodeId, TlsIdentity>();
  readonly #records = new Map<NodeId, NodeCertificate>();
  /** Wall time at which what is on a disk ends. */
  readonly #ends = new Map<NodeId, number>();
  readonly #keepers = new Map<NodeId, Keeper>();
  #cluster: Cluster | undefined;

  /** @param faultsMs how long nodes may be kept from the managers: no certificate may end in that time */
  constructor(world: World, wires: Wires, managers: () => readonly string[], faultsMs: number, maxSkewMs: number) {
    this.#world = world;
    this.#wires = wires;
    this.#managers = managers;
    // The last renewal begins when a fifth of life and backdating is left: of the shortest life that the product allows, as much as here.
    const lifeMs = world.between(2.5, 3) * (faultsMs + 20_000);
    this.areShort = maxSkewMs <= SHORT_LIVES_SKEW_MS;
    this.lifetimes = this.areShort ? { lifeMs, backdateMs: lifeMs } : { lifeMs: 4 * HOUR_MS, backdateMs: HOUR_MS };
    this.#mint = seededMint(world, this.lifetimes);
  }

  /** The cluster with its root; the same at every attempt to write it down. */
  async found(cluster: Cluster): Promise<Cluster> {
    if (this.#cluster !== undefined) return this.#cluster;
    const root = await this.#mint.createRootCa(cluster.id, this.#now);
    return (this.#cluster ??= { ...cluster, rootCaCertificate: root.certificate, rootCaKey: root.key });
  }

  /** What a node begins with, as after `init` or `join`. */
  async certify(cluster: Cluster, nodeId: NodeId, role: NodeRole): Promise<NodeCertificate> {
    const known = this.#records.get(nodeId);
    if (known !== undefined) return known;
    const keyDigest = `${nodeId} joins`;
    const request = { publicKey: undefined as never, keyDigest };
    const issued = await this.#mint.issueCertificate(cluster, request, { nodeId, role }, this.#now);
    const { certificate, issuedAt, expiresAt } = issued;
    const record = { role, keyDigest, issuedAt, expiresAt, usedIssuer: '', trustedRoots: [] };
    this.#records.set(nodeId, record);
    this.#put(nodeId, { key: '', certificate, roots: trustedRoots(cluster) });
    const keeper = this.#keepers.get(nodeId);
    if (keeper !== undefined) this.#world.enter(keeper.end.life, () => this.#begin(nodeId, keeper));
    return record;
  }

  /** A process of the node has begun: it keeps the identity, from when there is one on. */
  keep(nodeId: NodeId, end: End, clock: Clock): void {
    const keeper = { end, clock, begun: false };
    this.#keepers.set(nodeId, keeper);
    if (this.#disks.has(nodeId)) this.#begin(nodeId, keeper);
  }

  /** The CA of a manager. */
  handlers(store: ResumableStore, clock: Clock): ServiceHandlers<typeof caService> {
    const ca = createCa({ store, clock, random: this.#world.random, mint: this.#mint });
    const check = (caller: Caller): void => {
      // Who passes a call on has looked.
      if (caller.kind !== 'node' || caller.via !== undefined) return;
      const shown = this.#disks.get(caller.nodeId);
      if (shown === undefined) throw new TsswarmError('PERMISSION_DENIED', 'calling the CA: no certificate is shown');
      verifyChain(shown.certificate, trustedRoots(store.view(clusterOf)), clock.now());
    };
    return {
      getRootCertificate: ca.getRootCertificate,
      async issueCertificate(request, signal, caller) {
        check(caller);
        return ca.issueCertificate(request, signal, caller);
      },
      async *watchIdentity(request, signal, caller) {
        check(caller);
        yield* ca.watchIdentity(request, signal, caller);
      },
    };
  }

  /** Goes to a new root. @throws IN_USE while one is under way */
  async rotate(store: ResumableStore, clock: Clock): Promise<void> {
    await startCaRotation({ store, clock, mint: this.#mint });
    this.counts.caRotations++;
  }

  /** Whether every node has what the store says, or what is missing. */
  difference(store: ResumableStore): string {
    const { cluster, nodes } = store.view((tx) => ({ cluster: clusterOf(tx), nodes: tx.list('node') }));
    const rotation = rotationProgress(cluster, nodes);
    if (rotation !== undefined) return `a rotation of the CA waits for ${rotation.waitingFor.join() || 'its end'}`;
    const issuer = issuerDigest(cluster);
    for (const node of nodes) {
      const reason = this.#wrong(node, issuer);
      if (reason !== '') return `the certificate of ${node.id} ${reason}`;
    }
    return '';
  }

  /** Nodes are never kept away for so long: whose certificate has ended was left alone. */
  expired(store: ResumableStore): string | undefined {
    const nodes = store.view((tx) => tx.list('node'));
    return nodes.find(({ id }) => {
      const lives = this.#keepers.get(id)?.end.life.alive === true;
      return lives && (this.#ends.get(id) ?? Infinity) <= this.#now;
    })?.id;
  }

  #put(nodeId: NodeId, identity: TlsIdentity): void {
    this.#disks.set(nodeId, identity);
    this.#ends.set(nodeId, certificatesOf(identity.certificate)[0]?.validToDate.getTime() ?? 0);
  }

  get #now(): number {
    return EPOCH + Math.floor(this.#world.now);
  }

  #wrong({ id, spec, certificate: record }: Node, issuer: string): string {
    const shown = this.#disks.get(id);
    if (shown === undefined || record === undefined) return 'is not there';
    if (record.role !== spec.role || identityOf(shown.certificate).role !== spec.role) return `is not a ${spec.role}'s`;
    if (rootDigest(shown.roots) !== issuer) return 'comes with roots that are not those of the cluster';
    return verdict(() => verifyChain(shown.certificate, shown.roots, this.#now));
  }

  #begin(nodeId: NodeId, keeper: Keeper): void {
    const disk = this.#disks.get(nodeId);
    const { end, clock } = keeper;
    if (keeper.begun || disk === undefined || !end.life.alive) return;
    keeper.begun = true;
    let requests = 0;
    keepIdentity({
      identity: playedIdentity(disk),
      disk: { save: (identity) => this.#save(nodeId, identity, end.life) },
      ca: this.#client(nodeId, end),
      renew: async (ca, current, _clock, signal) => {
        const csr = `${nodeId} ${Math.floor(this.#world.now)} ${++requests}`;
        const wallTime = clock.now();
        const request = { csr, token: '', availability: 'active', address: '', wallTime } as const;
        const { certificate, roots } = await ca.issueCertificate(request, signal);
        verifyChain(certificate, roots, clock.now());
        if (identityOf(certificate).nodeId !== nodeId) throw new Error('it is for another node');
        return { ...current, certificate, roots };
      },
      clock,
      random: this.#world.random,
      logger: silentLogger,
    });
  }

  #save(nodeId: NodeId, identity: TlsIdentity, life: Life): Promise<void> {
    return new Promise((resolve) => {
      const write = (): void => {
        if (this.#disks.get(nodeId)?.certificate !== identity.certificate) this.counts.certificates++;
        this.#put(nodeId, identity);
        resolve();
      };
      this.#world.after(this.#world.between(0.1, SAVE_MS), write, life, 11);
    });
  }

  /** One that is a manager by its certificate: who has got a worker's ends what a manager does, and serves no CA. */
  #someManager(): string {
    const all = this.#managers();
    const serves = (address: string): boolean => {
      const shown = this.#disks.get(address.split(':')[0] as NodeId);
      return shown === undefined || identityOf(shown.certificate).role === 'manager';
    };
    const serving = all.filter(serves);
    return this.#world.pick(serving.length > 0 ? serving : all);
  }

  /** The CA at one manager, until that fails: then at another. */
  #client(nodeId: NodeId, end: End): () => CaClient {
    const clients = new Map<string, CaClient>();
    let address = this.#someManager();
    const at = (): CaClient => {
      const caller: Caller = { kind: 'node', nodeId, role: 'worker' };
      const known = clients.get(address) ?? this.#wires.connect(end, address, caller).service(caService);
      clients.set(address, known);
      return known;
    };
    const next = (): void => {
      address = this.#someManager();
    };
    return () => ({
      issueCertificate: (request, signal) =>
        at()
          .issueCertificate(request, signal)
          .catch((error: unknown) => {
            next();
            throw error;
          }),
      async *watchIdentity(request, signal) {
        try {
          yield* at().watchIdentity(request, signal);
        } catch (error) {
          next();
          throw error;
        }
      },
    });
  }
}

/** An identity that nobody makes TLS connections with. */
function playedIdentity(initial: TlsIdentity): LiveIdentity {
  const listeners = new Set<() => void>();
  let current = initial;
  return {
    get current() {
      return current;
    },
    get node() {
      return identityOf(current.certificate);
    },
    get secureContext(): never {
      throw new Error('nobody connects by TLS here');
    },
    replace(next) {
      current = next;
      for (const listener of [...listeners]) listener();
    },
    onReplace(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function verdict(look: () => unknown): string {
  try {
    look();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

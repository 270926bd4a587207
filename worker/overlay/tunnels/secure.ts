/** Keeps the encrypted way of a node and rotates its key: what is decided is in keys.ts and rotation.ts, this is the edge. */
import type { Clock, Timer } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { SecureKey, SecureLink, SecureRequest, SecureSession } from '../../../node-engine/types.ts';
import type { OverlayPeer } from '../../../proto/types/index.ts';
import type { SecureSelf } from './keys.ts';
import {
  fingerprint,
  isOfOldVersion,
  keysOf,
  otherSlot,
  receivedBy,
  secureAddress,
  secureRequest,
  unsettled,
  withPeersOf,
} from './keys.ts';
import type { RotationStep, RotationView } from './rotation.ts';
import { dueAt, nextStep } from './rotation.ts';

/** How often the encrypted way is looked after: what drives it may be a process that ends. */
const LOOK_MS = 3000;
/** The same while somebody rotates a key. */
const LOOK_CLOSELY_MS = 1000;
/** A second link that cannot be made is tried again after this, unless somebody asks for it. */
const PAUSE_MS = 600_000;

export interface SecureOptions {
  readonly nodeId: NodeId;
  readonly link: SecureLink;
  /** See RotationView. */
  readonly keyIntervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Has everything looked at again. */
  readonly lookAgain: () => Promise<void>;
  /** The way is gone, and the tunnels with it. */
  readonly onLoss: () => void;
}

/** How the rotation of a node's key is. */
export interface RotationStatus {
  /** The oldest first; none: the node has no WireGuard. */
  readonly keys: readonly SecureKey[];
  /** Undefined: no encrypted network leads to others. */
  readonly step?: RotationStep;
  /** For how long the step has been the same, ms. */
  readonly stepMs: number;
  /** When the next one is due, wall time, ms; absent: only on command. */
  readonly dueAt?: number;
  /** Why the second link could not be made; empty: it could. */
  readonly failure: string;
}

/** The nodes that a node's encrypted tunnels lead to. */
export interface SecureNeed {
  readonly local: string;
  readonly meshAddress: string;
  /** UDP port of VXLAN. */
  readonly port: number;
  readonly peers: readonly OverlayPeer[];
}

export class SecureWay {
  readonly #options: SecureOptions;
  readonly #logger: Logger;
  #sessions: readonly SecureSession[] = [];
  #isWithdrawn = false;
  #isCommanded = false;
  /** What the links were told last; undefined: nobody has looked. Null: there is none. */
  #made: SecureRequest | null | undefined;
  #need: SecureNeed | undefined;
  #own: OverlayPeer | undefined;
  #look: Timer | undefined;
  /** Since when the newest key works with all, monotonic. */
  #settledAt: number | undefined;
  #quiet = { bytes: -1, at: 0 };
  #step: { readonly step: RotationStep; readonly at: number } | undefined;
  #failed: { readonly at: number; readonly reason: string } | undefined;
  #isClosed = false;

  constructor(options: SecureOptions) {
    this.#options = options;
    this.#logger = options.logger;
  }

  /** Keys that others are told of. */
  told(): readonly SecureKey[] {
    const keys = this.#options.link.keys();
    return this.#isWithdrawn ? keys.slice(-1) : keys;
  }

  /** Undefined: the node has no WireGuard. */
  self(): SecureSelf | undefined {
    const keys = this.#options.link.keys();
    return keys.length === 0 ? undefined : { keys, told: this.told(), sessions: this.#sessions };
  }

  /**
   * Looks what there is, before anything is decided.
   * @param own the node itself, as others are told of it
   */
  async survey(peers: Iterable<OverlayPeer>, own: OverlayPeer | undefined): Promise<void> {
    const isFirst = this.#own === undefined;
    this.#own = own;
    const keys = this.#options.link.keys();
    const newest = keys.at(-1);
    // An earlier life of the daemon has done so.
    const known = own === undefined ? [] : keysOf(own.overlay);
    if (isFirst && keys.length > 1) this.#isWithdrawn = known.length === 1 && known[0]?.publicKey === newest?.publicKey;
    const isRotating = keys.length > 1 || [...peers].some(({ overlay }) => keysOf(overlay).length > 1);
    this.#sessions = isRotating && (await this.#options.link.isThere()) ? await this.#options.link.sessions() : [];
  }

  /**
   * Makes what the tunnels need, before they are changed. What they have needed stays.
   * @returns whether the way is a new one; tunnels that took one that is gone went with it
   * @throws NOT_SUPPORTED, NETWORK_FAILED
   */
  async open(need: SecureNeed, isCertain: boolean): Promise<boolean> {
    this.#need = need;
    const self = this.self();
    if (self === undefined) throw new TsswarmError('NOT_SUPPORTED', 'this node has no WireGuard');
    const { link } = this.#options;
    // What is known from before may be older than what is there.
    if (!isCertain && this.#made === undefined && (await link.isThere())) return false;
    const request = withPeersOf(secureRequest(self, need, need.peers), this.#made ?? undefined);
    return this.#make(request);
  }

  /** When the tunnels are as they shall be: forgets whom nothing leads to any more. @throws NETWORK_FAILED */
  async settle(need: SecureNeed, isCertain: boolean): Promise<void> {
    const self = this.self();
    if (self === undefined || !isCertain) return;
    await this.#make(secureRequest(self, need, need.peers));
    await this.#advance();
  }

  /** Nothing is encrypted any more. @throws NETWORK_FAILED */
  async remove(): Promise<void> {
    if (this.#made === null) return;
    this.#look?.cancel();
    this.#look = undefined;
    this.#need = undefined;
    this.#step = undefined;
    await this.#options.link.remove();
    this.#isWithdrawn = false;
    this.#made = null;
  }

  /** Begins to rotate the key. @throws NOT_SUPPORTED, NETWORK_FAILED */
  async rotate(): Promise<'begun' | 'under-way' | 'unused'> {
    const { link } = this.#options;
    if (this.#need === undefined || !this.#made) return 'unused';
    if (link.keys().length > 1) return 'under-way';
    const step = nextStep({ ...this.#view(this.#need), isCommanded: true });
    if (step.kind === 'hold')
      throw new TsswarmError('NOT_SUPPORTED', `rotating the key of this node: ${holdWords(step)}`);
    this.#isCommanded = true;
    this.#failed = undefined;
    await this.#options.lookAgain();
    await this.#options.lookAgain();
    const { failure } = this.status();
    if (failure !== '') throw new TsswarmError('NETWORK_FAILED', failure);
    return 'begun';
  }

  status(): RotationStatus {
    const keys = this.#options.link.keys();
    const { clock, keyIntervalMs } = this.#options;
    const newest = keys.at(-1);
    return {
      keys,
      ...(this.#step === undefined ? {} : { step: this.#step.step }),
      stepMs: this.#step === undefined ? 0 : clock.monotonic() - this.#step.at,
      ...(newest === undefined || keyIntervalMs === 0 ? {} : { dueAt: dueAt(newest, keyIntervalMs) }),
      failure: this.#failed?.reason ?? '',
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#look?.cancel();
  }

  async #make(request: SecureRequest): Promise<boolean> {
    if (JSON.stringify(request) === JSON.stringify(this.#made)) return false;
    try {
      const { isNew } = await this.#options.link.ensure(request);
      this.#made = request;
      this.#watch();
      return isNew;
    } catch (error) {
      this.#made = undefined;
      const [, next] = this.#options.link.keys();
      if (next === undefined || this.#isWithdrawn) throw error;
      // Everything goes on as before with the old one.
      this.#failed = { at: this.#options.clock.monotonic(), reason: messageOf(error) };
      this.#logger.error('rotation of the key given up', { reason: messageOf(error) });
      await this.#options.link.remove(next.slot);
      void this.#options.lookAgain();
      throw error;
    }
  }

  #view(need: SecureNeed): RotationView {
    const { link, clock, keyIntervalMs } = this.#options;
    const self = this.self() ?? { keys: [], told: [], sessions: [] };
    const own = this.#own?.overlay;
    const [oldest] = self.keys;
    return {
      keys: link.keys(),
      now: clock.now(),
      intervalMs: keyIntervalMs,
      isCommanded: this.#isCommanded,
      known: own === undefined ? [] : keysOf(own).map(({ publicKey }) => publicKey),
      old: need.peers.filter(({ overlay }) => isOfOldVersion(overlay)).map(({ nodeId }) => nodeId),
      isManagerOld: own !== undefined && isOfOldVersion(own),
      hasOneLink: oldest !== undefined && secureAddress(need.meshAddress, otherSlot(oldest.slot)) === undefined,
      unsettled: unsettled(self, need.peers),
      settledMs: this.#settledAt === undefined ? 0 : clock.monotonic() - this.#settledAt,
      isWithdrawn: this.#isWithdrawn,
      quietMs: clock.monotonic() - this.#quiet.at,
    };
  }

  #listen(): void {
    const [oldest, next] = this.#options.link.keys();
    if (oldest === undefined || next === undefined) return;
    const bytes = receivedBy(this.#sessions, oldest.slot);
    if (bytes !== this.#quiet.bytes) this.#quiet = { bytes, at: this.#options.clock.monotonic() };
  }

  async #advance(): Promise<void> {
    if (this.#need === undefined || this.#isClosed) return;
    const { link, clock } = this.#options;
    this.#listen();
    const self = this.self();
    const isSettled = self !== undefined && unsettled(self, this.#need.peers).length === 0;
    this.#settledAt = isSettled && self.keys.length > 1 ? (this.#settledAt ?? clock.monotonic()) : undefined;
    const step = nextStep(this.#view(this.#need));
    this.#note(step);
    if (step.kind === 'begin') {
      const isPaused = this.#failed !== undefined && clock.monotonic() - this.#failed.at < PAUSE_MS;
      if (isPaused && !this.#isCommanded) return;
      this.#isCommanded = false;
      this.#failed = undefined;
      // Newer than the one before, whatever the clock says.
      link.addKey(step.slot, Math.max(clock.now(), (link.keys().at(-1)?.madeAt ?? 0) + 1));
    } else if (step.kind === 'withdraw') {
      this.#isWithdrawn = true;
    } else if (step.kind === 'untell') {
      this.#quiet = { ...this.#quiet, at: clock.monotonic() };
    } else if (step.kind === 'end') {
      await link.remove(step.slot);
      this.#isWithdrawn = false;
    } else return;
    if (step.kind === 'untell') return;
    this.#watch();
    void this.#options.lookAgain();
  }

  #note(step: RotationStep): void {
    const before = this.#step;
    if (before !== undefined && before.step.kind === step.kind) {
      this.#step = { step, at: before.at };
      return;
    }
    this.#step = { step, at: this.#options.clock.monotonic() };
    if (before === undefined && step.kind === 'rest') return;
    const newest = this.#options.link.keys().at(-1);
    this.#logger.info('rotation of the key', {
      from: before?.step.kind ?? '',
      to: step.kind,
      key: newest === undefined ? '' : fingerprint(newest.publicKey),
    });
  }

  /** A session may be agreed on at any moment that something waits for, or this node waits for an old key to be left alone. */
  #isChanging(): boolean {
    const self = this.self();
    if (self === undefined || this.#need === undefined) return false;
    const both = this.#need.peers.filter(({ overlay }) => keysOf(overlay).length > 1);
    return self.keys.length > 1 || unsettled(self, both).length > 0;
  }

  /** More closely while something is under way. */
  #watch(): void {
    if (this.#isClosed) return;
    this.#look?.cancel();
    this.#look = this.#options.clock.startTimer(
      this.#isChanging() ? LOOK_CLOSELY_MS : LOOK_MS,
      () => void this.#lookAfter().catch(() => undefined),
    );
  }

  async #lookAfter(): Promise<void> {
    const isThere = await this.#options.link.isThere().catch(() => false);
    if (this.#isClosed || !this.#made || this.#need === undefined) return;
    this.#watch();
    if (!isThere) {
      this.#logger.warn('the encrypted way to other nodes has ended: it is made again');
      this.#made = undefined;
      this.#options.onLoss();
    }
    if (!isThere || this.#isChanging() || nextStep(this.#view(this.#need)).kind !== 'rest')
      await this.#options.lookAgain();
  }
}

/** Why a rotation does not begin, as the end of a sentence. */
export function holdWords(
  { why, nodes }: Extract<RotationStep, { kind: 'hold' }>,
  nameOf: (id: NodeId) => string = (id) => id,
): string {
  if (why === 'old-managers') return 'the managers are of a version that knows of one key for each node';
  if (why === 'one-link') return 'it has no address for a second link: the cluster has had more than 8191 nodes';
  return `${nodes.map(nameOf).join(', ')} ${nodes.length === 1 ? 'is' : 'are'} of a version that knows of one key for each node`;
}

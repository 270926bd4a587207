import type { NetworkId, NodeId } from '../../base/ids.ts';
import type { Node, PublishedPort, Service, Task } from '../../proto/types/index.ts';
import { heldAddresses } from '../model/task-addresses.ts';
import { isServing } from '../model/task-state.ts';
import type { ReadTransaction, Store, StoreChange, StoreWatch } from '../store/types.ts';
import { isLocated } from './overlays.ts';

/** Whom a commit can mean something to: what these nodes are assigned may be different after it. */
export interface Reach {
  readonly everybody: boolean;
  readonly nodes: ReadonlySet<NodeId>;
  /** Nodes that know the names on these networks. */
  readonly networks: ReadonlySet<NetworkId>;
}

/**
 * What can change with a commit, of everything that `assignmentSet` puts together. Most commits are one node's reports: they
 * concern that node alone, or those that lead somebody to its tasks. Too much is harmless, too little is not.
 * @param tx the state after the commit, or a later one
 */
export function reachOf(changes: readonly StoreChange[], tx: ReadTransaction): Reach {
  const nodes = new Set<NodeId>();
  const networks = new Set<NetworkId>();
  let everybody = false;
  for (const change of changes) {
    if (change.table === 'task') {
      const { before, after } = change;
      for (const task of [before, after])
        if (task !== undefined && task.nodeId !== '') nodes.add(task.nodeId as NodeId);
      const isSeen = isSeenByOthers(before, after);
      if (!isSeen && !isElsewhere(before, after)) continue;
      for (const task of [before, after])
        for (const { networkId } of task === undefined ? [] : heldAddresses(task)) networks.add(networkId);
      if (!isSeen) continue;
      const serviceId = (after ?? before)?.serviceId;
      everybody ||= serviceId !== undefined && hasIngress(tx.get('service', serviceId)?.ports);
    } else if (change.table === 'service') {
      const { before, after } = change;
      everybody ||= before?.spec.composeName !== after?.spec.composeName || hasIngress(before?.ports ?? after?.ports);
      everybody ||= hasIngress(after?.ports);
      if (virtualKey(before) !== virtualKey(after))
        for (const service of [before, after])
          for (const { networkId } of service?.virtualIps ?? []) networks.add(networkId);
    } else if (change.table === 'node') {
      if (isToldOtherwise(change.before, change.after)) nodes.add(change.id as NodeId);
      if (!isReachedElsewhere(change.before, change.after)) continue;
      for (const task of tx.find('task', 'node', change.id))
        for (const { networkId } of heldAddresses(task)) networks.add(networkId);
      everybody ||= tx.list('service').some(({ ports }) => hasIngress(ports));
    } else if (change.table === 'volume') {
      everybody ||= change.before?.pendingDelete === true || change.after?.pendingDelete === true;
    } else if (change.table === 'network' || change.table === 'secret' || change.table === 'config') {
      everybody = true;
    }
  }
  return { everybody, nodes, networks };
}

const hasIngress = (ports: readonly PublishedPort[] = []): boolean => ports.some(({ mode }) => mode === 'ingress');

/** What nodes are told of a service's virtual addresses, beside what its tasks say. */
const virtualKey = (service: Service | undefined): string =>
  service === undefined || service.pendingDelete || service.virtualIps.length === 0
    ? ''
    : JSON.stringify([
        service.virtualIps,
        service.spec.composeName,
        service.spec.affinity,
        service.spec.task.networks.map(({ network, aliases }) => [network, aliases]),
      ]);

/** Names and ports lead to the task. */
const isFound = (task: Task | undefined): boolean =>
  task !== undefined && task.nodeId !== '' && task.desiredState === 'running' && isServing(task);

/** Whether other nodes may have to lead somebody to it, or nobody any more; or are waited for before it is stopped. */
function isSeenByOthers(before: Task | undefined, after: Task | undefined): boolean {
  const found = isFound(before);
  if (found !== isFound(after)) return true;
  if (before === undefined || after === undefined) return false;
  if (before.desiredState !== after.desiredState && after.status.state === 'running') return true;
  return (
    found &&
    (hasMoved(before, after) ||
      before.nodeId !== after.nodeId ||
      before.name !== after.name ||
      aliasKey(before) !== aliasKey(after))
  );
}

/** Whether its addresses are others, or those that it is on its way from. */
const hasMoved = (before: Task, after: Task): boolean =>
  before.addresses !== after.addresses || before.changing?.addresses !== after.changing?.addresses;

/** What it is called on its networks. */
function aliasKey({ spec: { networks } }: Task): string {
  return networks.every(({ aliases }) => aliases.length === 0)
    ? ''
    : JSON.stringify(networks.map(({ network, aliases }) => [network, aliases]));
}

/** Whether the task's addresses are in another place, or nowhere any more, or somebody else's. */
function isElsewhere(before: Task | undefined, after: Task | undefined): boolean {
  if (isLocated(before) !== isLocated(after)) return true;
  if (!isLocated(before) || !isLocated(after)) return false;
  return before.nodeId !== after.nodeId || hasMoved(before, after) || before.desiredState !== after.desiredState;
}

const isDown = (node: Node | undefined): boolean => node?.status.state === 'down';

/** Whether the node itself is told of something else: one that is down knows its own tasks still, and labels say what its cards are called. */
const isToldOtherwise = (before: Node | undefined, after: Node | undefined): boolean =>
  isDown(before) !== isDown(after) || JSON.stringify(before?.spec.labels) !== JSON.stringify(after?.spec.labels);

/** Whether other nodes reach it in another way than before, or not at all any more. */
function isReachedElsewhere(before: Node | undefined, after: Node | undefined): boolean {
  if (isDown(before) !== isDown(after) || before?.meshAddress !== after?.meshAddress) return true;
  return JSON.stringify(before?.description.overlay) !== JSON.stringify(after?.description.overlay);
}

/** One who wants to know when what its node is assigned may have changed. */
export interface Member {
  readonly nodeId: NodeId;
  /** Networks whose names it knows. */
  readonly networks: () => ReadonlySet<NetworkId>;
  readonly look: () => void;
}

/** Tells those whom a commit concerns, and only those: one watch of the store for all sessions. */
export class Audience {
  readonly #store: Store;
  readonly #passed: (version: number) => void;
  readonly #members = new Set<Member>();
  readonly #byNode = new Map<NodeId, Set<Member>>();
  #watch: StoreWatch | undefined;

  /** @param passed called when everybody whom it concerns has been told of everything up to a version */
  constructor(store: Store, passed: (version: number) => void) {
    this.#store = store;
    this.#passed = passed;
  }

  /** Tells `member` of what comes after the state that is read now, until the returned function is called. */
  add(member: Member): () => void {
    this.#members.add(member);
    const there = this.#byNode.get(member.nodeId);
    if (there === undefined) this.#byNode.set(member.nodeId, new Set([member]));
    else there.add(member);
    if (this.#watch === undefined) void this.#follow();
    return () => {
      this.#members.delete(member);
      const left = this.#byNode.get(member.nodeId);
      left?.delete(member);
      if (left?.size === 0) this.#byNode.delete(member.nodeId);
      if (this.#members.size === 0) this.#watch?.close();
    };
  }

  /** Has everybody look. */
  tellAll(): void {
    for (const { look } of this.#members) look();
  }

  async #follow(): Promise<void> {
    for (let isFirst = true; this.#members.size > 0; isFirst = false) {
      const { watch } = this.#store.viewAndWatch(() => undefined);
      this.#watch = watch;
      // The last watch fell behind, or a snapshot came, or nobody was there for a moment: a look sees what was missed.
      if (!isFirst) this.tellAll();
      try {
        for await (const { version, changes } of watch) {
          this.#tell(this.#store.view((tx) => reachOf(changes, tx)));
          this.#passed(version);
        }
      } catch {
        continue;
      }
    }
    this.#watch = undefined;
  }

  #tell({ everybody, nodes, networks }: Reach): void {
    if (everybody) return this.tellAll();
    for (const node of nodes) for (const { look } of this.#byNode.get(node) ?? []) look();
    if (networks.size === 0) return;
    for (const member of this.#members) if (!networks.isDisjointFrom(member.networks())) member.look();
  }
}

import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { bootstrapCluster } from '../../manager/ca/bootstrap.ts';
import { standing } from '../../manager/ca/cluster.ts';
import { foundWithExternalCas } from '../../manager/ca/founding.ts';
import type { Founding } from '../../manager/ca/founding.ts';
import { createCa, renewCertificate } from '../../manager/ca/server.ts';
import { externalSigner } from '../../manager/ca/signer/client.ts';
import { followAutolock } from '../../manager/cluster/autolock/loop.ts';
import { giveUpOtherManagers } from '../../manager/cluster/force-new.ts';
import { demandNoOwnState } from '../../manager/cluster/own-state.ts';
import { createMembership } from '../../manager/cluster/server.ts';
import { createControl } from '../../manager/control/server.ts';
import { Decisions } from '../../manager/model/stages/decisions.ts';
import { createDispatcher } from '../../manager/dispatcher/server.ts';
import { lead } from '../../manager/leader.ts';
import { createTaskRouter } from '../../manager/tasks/server.ts';
import { forwarding } from '../../proto/rpc/forward.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { LiveIdentity, TlsIdentity } from '../../proto/rpc/live-identity.ts';
import { alongSessions } from '../../proto/rpc/relay/along-sessions.ts';
import { createRelayHub } from '../../proto/rpc/relay/hub.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import {
  caService,
  controlService,
  dispatcherService,
  membershipService,
  raftService,
  relayService,
  tasksService,
} from '../../proto/rpc/services.ts';
import type { Cluster, EtcdAccess, ForceNewClusterResponse, NodeDescription } from '../../proto/types/index.ts';
import { createCertificateRequest } from '../../worker/identity/index.ts';
import type { IdentityDisk } from '../../worker/identity/index.ts';
import { readInitRequest } from '../local-node/init-request.ts';
import type { InitRequest } from '../local-node/init-request.ts';
import type { BackEnd } from './back-ends/back-end.ts';
import { openBackEnd } from './back-ends/open.ts';
import { keepPlace } from './keep-place.ts';
import { newClusterIsForced, newClusterWasForced } from './force-new-cluster.ts';
import { followLeadership } from './leadership.ts';
import type { NodeLock } from './lock.ts';
import { caughtUp, letIn, reach } from './let-in.ts';
import { managerConnections } from './manager-connections.ts';
import { repeating } from './repeating.ts';
import { whileLeaderless } from './while-leaderless.ts';

export interface ManagerOptions {
  readonly nodeId: NodeId;
  readonly stateDir: string;
  readonly addressPools: readonly string[];
  readonly description: NodeDescription;
  /** Undefined: this is the first manager of a new cluster, and makes its own. */
  readonly identity: LiveIdentity | undefined;
  readonly disk: IdentityDisk;
  readonly lock: NodeLock;
  /** What answers for the tasks of this node, and whether the container of a task is here. */
  readonly tasks: ServiceHandlers<typeof tasksService>;
  readonly hasTask: (taskId: string) => boolean;
  /** "host:port" to bind; and whether it may go without when the port is taken, because nobody asked for it. */
  readonly listenAddr: string;
  readonly mayGoUnheard: boolean;
  readonly advertiseAddr: string;
  /** The external store that the user has named now; undefined: as before. */
  readonly store: EtcdAccess | undefined;
  /** Managers to be let in by, "host:port". */
  readonly managers: readonly string[];
  /** Where all managers are, whenever that changes. */
  readonly learn: (addresses: readonly string[]) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly onFatal: (error: Error) => void;
}

/** The manager of a node: its part in the group, and every service, passed on to the leader where that is another. */
export interface Manager {
  readonly backEnd: BackEnd;
  /** Managers that were given up at the start, as a new cluster was forced. */
  readonly givenUp: ForceNewClusterResponse['managers'];
  readonly identity: LiveIdentity;
  readonly control: ServiceHandlers<typeof controlService>;
  readonly dispatcher: ServiceHandlers<typeof dispatcherService>;
  readonly membership: ServiceHandlers<typeof membershipService>;
  readonly ca: ServiceHandlers<typeof caService>;
  /** The tasks of every node. */
  readonly tasks: ServiceHandlers<typeof tasksService>;
  /**
   * Gets this manager into the group where it is new, or its new address known; resolves when the state of the cluster is here. It
   * answers from before that on: the others call it a manager as soon as it is let in.
   * @throws what joining throws
   */
  takePlace(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the store, takes part in the group and listens to other nodes.
 * @throws what binding the address throws
 */
export async function startManager(options: ManagerOptions): Promise<Manager> {
  const { nodeId, stateDir, clock, random, logger, advertiseAddr, disk } = options;
  let identity = options.identity;
  const demandIdentity = (): LiveIdentity => {
    if (identity === undefined) throw new TsswarmError('INTERNAL', 'using the identity of the node: it has none yet');
    return identity;
  };
  const dir = join(stateDir, 'manager');
  // Before anything is on disk: when it fails, init can be done again.
  const asked: InitRequest = identity === undefined ? readInitRequest(stateDir) : { settings: {} };
  const founded = await askExternalCas(asked);
  const forced = newClusterIsForced(dir);
  const backEnd = await openBackEnd({
    nodeId,
    dir,
    vault: () => options.lock.vault(),
    forceNewCluster: forced,
    advertiseAddr,
    isFirst: identity === undefined,
    identity: demandIdentity,
    clock,
    random,
    logger,
    onFatal: options.onFatal,
    named: options.store,
    managers: options.managers,
  });
  const { store, group } = backEnd;
  const addresses = (): readonly string[] =>
    group
      .status()
      .members.map(({ address }) => address)
      .filter((address) => address !== '');
  const managers = { current: addresses, onChange: (listener: () => void) => group.onChange(listener) };
  const decisions = new Decisions(clock);
  const confirmLead = (): Promise<void> => backEnd.leadership.confirmLead();
  const dispatcher = createDispatcher({ store, clock, random, logger, managers, decisions, confirmLead });
  const leadership = followLeadership({
    source: backEnd.leadership,
    clock,
    identity: demandIdentity,
    logger,
    async lead(signal) {
      const sessionsEnd = (): void => dispatcher.close();
      signal.addEventListener('abort', sessionsEnd, { once: true });
      await Promise.all([
        lead({ store, clock, random, logger, leases: dispatcher.leases, decisions, group }, signal),
        backEnd.lead?.(signal),
        dispatcher.takeOver(signal),
      ]);
    },
  });
  const toLeader = (signal: AbortSignal): ReturnType<typeof leadership.leader> => leadership.leader(signal);
  const sign = externalSigner({ identity: () => demandIdentity().current, clock });
  // A manager that was taken out hears nothing new: whom it told of the CA's affairs while it led must ask another one.
  const ca = forwarding(caService, createCa({ store, clock, random, sign }), toLeader, clock, leadership.leading);
  const control = repeating(
    forwarding(controlService, createControl({ store: decisions.within(store), clock, random }), toLeader),
    clock,
  );
  const membership = forwarding(
    membershipService,
    createMembership({
      nodeId,
      store,
      group,
      clock,
      random,
      logger: logger.child({ component: 'membership' }),
      sign,
      storeAccess: () => backEnd.access(),
      reach: (address, id, signal) => reach(demandIdentity(), clock, address, id, signal),
    }),
    toLeader,
  );
  const hub = createRelayHub({ clock, random });
  const dispatching = alongSessions(forwarding(dispatcherService, dispatcher.handlers, toLeader), hub);
  const others = managerConnections({ group, identity: demandIdentity, nodeId });
  const tasks = createTaskRouter({
    nodeId,
    store,
    clock,
    hub,
    local: options.tasks,
    isHere: options.hasTask,
    managers: others.ids,
    manager: others.connection,
  });
  const life = new AbortController();
  const server = createRpcServer();
  const close = async (): Promise<void> => {
    life.abort(new Error('stopping'));
    stopLearning();
    dispatcher.close();
    hub.close();
    server.close();
    others.close();
    await leadership.close();
    await autolock;
    await backEnd.close();
  };
  const { reseal } = backEnd;
  let autolock: Promise<void> = Promise.resolve();
  const stopLearning = managers.onChange(() => options.learn(addresses()));
  try {
    if (identity === undefined) {
      const { description, addressPools } = options;
      await backEnd.whenMayFound();
      if (backEnd.access() !== undefined) demandNoOwnState(asked.settings);
      const cluster = await bootstrapCluster({
        ...asked,
        ...founded,
        store,
        clock,
        random,
        nodeId,
        description,
        addressPools: asked.addressPools ?? addressPools,
      });
      identity = createLiveIdentity(await firstIdentity(cluster));
      await disk.save(identity.current);
      backEnd.founded();
    }
    // Before anybody can be heard: those who are given up might outvote this manager.
    const givenUp = forced ? giveUpOtherManagers(store, nodeId, clock.now()) : Promise.resolve([]);
    const removed = (await givenUp).map(({ id, description }) => ({ nodeId: id, hostname: description.hostname }));
    if (forced) {
      logger.warn('a new cluster of this manager alone', { givenUp: removed.map((node) => node.nodeId).join(', ') });
      options.learn(addresses());
      newClusterWasForced(dir);
    }
    if (reseal !== undefined) {
      const resealAll = async (): Promise<void> => {
        await reseal();
        await disk.reseal();
      };
      const vault = options.lock.vault();
      autolock = followAutolock({ store, vault, reseal: resealAll, clock, logger }, life.signal);
    }
    server.add(caService, ca);
    server.add(controlService, control);
    server.add(dispatcherService, dispatching);
    server.add(membershipService, membership);
    server.add(raftService, backEnd.peers);
    server.add(relayService, hub.handlers);
    server.add(tasksService, tasks);
    try {
      await server.listenTls(options.listenAddr, { identity, clock, ...standing(store) });
    } catch (error) {
      if (!options.mayGoUnheard || !isTsswarmError(error, 'PORT_IN_USE')) throw error;
      logger.warn('other nodes cannot join: the port is taken', {
        listenAddr: options.listenAddr,
        reason: error.message,
        hint: 'start the node with --listen-addr <host>:<another port>',
      });
    }
    const served = { control, dispatcher: dispatching, membership, ca, tasks };
    return { backEnd, givenUp: removed, identity, ...served, takePlace, close };
  } catch (error) {
    await close();
    throw error;
  }

  async function askExternalCas({
    settings,
    externalCas = [],
    addressPools = options.addressPools,
    addressPoolPrefix,
  }: InitRequest): Promise<{ readonly founding?: Founding }> {
    if (externalCas.length === 0) return {};
    const pools = { addressPools, ...(addressPoolPrefix === undefined ? {} : { addressPoolPrefix }) };
    const request = await createCertificateRequest();
    const never = new AbortController().signal;
    const founding = await foundWithExternalCas(
      { clock, random, nodeId, ...pools, settings, externalCas, ...request, signer: externalSigner },
      never,
    );
    return { founding };
  }

  async function firstIdentity({ id, rootCaKey }: Cluster): Promise<TlsIdentity> {
    if (founded.founding?.cluster.id === id) return founded.founding.identity;
    if (rootCaKey === '') {
      throw new TsswarmError('CONFLICT', 'beginning a cluster: one was begun here with an external CA, and not ended', {
        hint: 'tsswarm leave --force, then tsswarm init anew',
      });
    }
    const { key, csr } = await createCertificateRequest();
    const { certificate, roots } = await renewCertificate({ store, clock }, nodeId, csr);
    return { key, certificate, roots };
  }

  async function takePlace(): Promise<void> {
    const mine = demandIdentity();
    const knock = (at: readonly string[], signal: AbortSignal) => letIn(mine, at, advertiseAddr, nodeId, signal);
    if (backEnd.standing() === 'new') {
      const enter = (): Promise<readonly string[]> => knock(options.managers, life.signal);
      options.learn(await whileLeaderless(clock, enter, life.signal));
      await caughtUp(backEnd, clock, nodeId);
    }
    const join = async (heard: boolean, signal: AbortSignal): Promise<unknown> => {
      const caller = { kind: 'node', ...mine.node } as const;
      if (heard) return membership.join({ nodeId, address: advertiseAddr }, signal, caller);
      // A machine that is switched off says nothing for minutes: who answers is asked.
      const others = group.status().members.filter(({ id, address }) => id !== nodeId && address !== '');
      const calls = others.map(({ id, address }) =>
        reach(mine, clock, address, id as NodeId, signal).then(() => address),
      );
      const answered = (await Promise.allSettled(calls)).flatMap((call) =>
        call.status === 'fulfilled' ? [call.value] : [],
      );
      return knock(answered.length > 0 ? answered : options.managers, signal);
    };
    void keepPlace({ backEnd, clock, logger: logger.child({ component: 'place' }), join }, life.signal);
  }
}

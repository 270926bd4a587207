import type { EtcdCluster } from '../builders/etcd-cluster.ts';
import type { Fault } from './faults.ts';

/** What can happen to an external etcd that keeps the state, beside what happens to the managers. */
export function etcdFaults(etcd: EtcdCluster): Readonly<Record<string, Fault>> {
  const all = [0, 1, 2];
  /** Kills members until the fault ends. */
  const kill = async (members: readonly number[]): Promise<() => void> => {
    await Promise.all(members.map((member) => etcd.kill(member)));
    return () => members.forEach((member) => etcd.revive(member));
  };
  /** Lets a member hang until the fault ends. */
  const hang = (member: number): (() => void) => {
    etcd.pause(member);
    return () => etcd.resume(member);
  };
  return {
    'a member of etcd killed': async () => kill([((await etcd.leader()) + 1) % all.length]),
    'the leading member of etcd killed': async () => kill([await etcd.leader()]),
    'two members of etcd killed': async () => kill(all.slice(1)),
    'all members of etcd killed': () => kill(all),
    'a member of etcd hangs': async () => hang(((await etcd.leader()) + 1) % all.length),
    'the leading member of etcd hangs': async () => hang(await etcd.leader()),
    'the leader and the leading member of etcd killed': async (lab, { leader }) => {
      const member = await etcd.leader();
      await lab.kill(leader);
      return kill([member]);
    },
    'what etcd remembers is compacted while a follower is cut off': async (lab, { follower }) => {
      lab.cut(follower);
      await etcd.compact();
    },
  };
}

import type { NodeId } from '../../base/ids.ts';
import type { NodeRole } from '../types/index.ts';

/**
 * Who calls. `local`: through the unix socket, which file mode guards. `node`: proved by a certificate of this cluster.
 * `anonymous`: over TLS with no certificate that counts; `why` says what is wrong with the one that was shown.
 */
export type Caller = (
  | { readonly kind: 'local' }
  | { readonly kind: 'node'; readonly nodeId: NodeId; readonly role: NodeRole }
  | { readonly kind: 'anonymous'; readonly why?: CertificateProblem }
) & {
  /** The manager that passed the call on to us; absent: the caller itself is connected. */
  readonly via?: NodeId;
};

/** Why a certificate does not count, and what to do. */
export interface CertificateProblem {
  readonly reason: string;
  readonly hint: string;
}

export const LOCAL_CALLER: Caller = { kind: 'local' };

/** The kinds of caller that the table of rights knows. */
export type CallerKind = 'local' | 'manager' | 'worker' | 'anonymous';

/** The kind under which the table of rights knows a caller. */
export function kindOf(caller: Caller): CallerKind {
  return caller.kind === 'node' ? caller.role : caller.kind;
}

/** For messages: `the worker "abc"`. */
export function describeCaller(caller: Caller): string {
  switch (caller.kind) {
    case 'local':
      return 'the local socket';
    case 'node':
      return `the ${caller.role} "${caller.nodeId}"`;
    case 'anonymous':
      return 'a caller without a certificate of this cluster';
  }
}

/** The caller in a metadata value, for a manager that forwards a call to the leader. */
export function encodeCaller(caller: Caller): string {
  return caller.kind === 'node' ? `${caller.role}/${caller.nodeId}` : caller.kind;
}

/** The reverse of {@link encodeCaller}; undefined for what is none. */
export function decodeCaller(text: string): Caller | undefined {
  if (text === 'local') return LOCAL_CALLER;
  if (text === 'anonymous') return { kind: 'anonymous' };
  const [, role, nodeId] = /^(manager|worker)\/([0-9a-z]+)$/.exec(text) ?? [];
  return nodeId === undefined ? undefined : { kind: 'node', role: role as NodeRole, nodeId: nodeId as NodeId };
}

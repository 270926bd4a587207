import type { ClusterId, NodeId } from '../../../base/ids.ts';
import type { ExternalCa } from '../../../proto/types/index.ts';

/** What an external CA is asked to sign. */
export interface SignRequest {
  /** PKCS #10 in PEM. */
  readonly csr: string;
  /** Takes the place of the names in the request; absent: those count. */
  readonly subject?: { readonly nodeId: NodeId; readonly unit: string; readonly clusterId: ClusterId };
  /** Alternative names. */
  readonly hosts?: readonly string[];
  /** Of the CA's configuration; absent: its default. */
  readonly profile?: string;
}

/**
 * Has an external CA sign.
 * @returns PEM, as the CA answered: not checked yet
 * @throws UNAVAILABLE when it cannot be reached, or refuses
 */
export type ExternalSigner = (ca: ExternalCa, request: SignRequest, signal?: AbortSignal) => Promise<string>;

/** Name of the profile that signs the next root when this one is rotated out, as swarmkit has it. */
export const CROSS_SIGN_PROFILE = 'CA';

import { TsswarmError } from '../../../base/errors.ts';

/** Clusters of several machines are not in this version; nothing pretends to be. */
export function join(): never {
  throw new TsswarmError('NOT_SUPPORTED', 'joining a cluster: this version runs clusters of one node only', {
    hint: 'start a node of its own on this machine with "tsswarm init"',
  });
}

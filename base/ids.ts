import type { Random } from './random.ts';

declare const brand: unique symbol;
type Id<Kind extends string> = string & { readonly [brand]: Kind };

/** Ids are strings that the compiler keeps apart: a TaskId is not a NodeId. */
export type ClusterId = Id<'cluster'>;
export type NodeId = Id<'node'>;
export type ProjectId = Id<'project'>;
export type ServiceId = Id<'service'>;
export type TaskId = Id<'task'>;
export type NetworkId = Id<'network'>;
export type VolumeId = Id<'volume'>;
export type SecretId = Id<'secret'>;
export type ConfigId = Id<'config'>;
export type RevisionId = Id<'revision'>;
/** 64 hexadecimal digits, as Docker's, of which the first twelve are not all decimal: see {@link isFitForHostname}. */
export type ContainerId = Id<'container'>;

/** Length of an object id: 125 bits of randomness in base 36, as swarmkit's identity package makes them. */
const ID_LENGTH = 25;
const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyz';

/** A new object id: 25 characters of [0-9a-z]. The caller says which kind it is. */
export function newId<T extends Id<string>>(random: Random): T {
  let id = '';
  // 36 * 7 = 252: bytes above are thrown away so that each digit is equally likely.
  while (id.length < ID_LENGTH) {
    for (const byte of random.bytes(ID_LENGTH)) if (byte < 252 && id.length < ID_LENGTH) id += ALPHABET[byte % 36];
  }
  return id as T;
}

/** A new container id: 64 hexadecimal digits. */
export function newContainerId(random: Random): ContainerId {
  for (;;) {
    const id = Buffer.from(random.bytes(32)).toString('hex');
    if (isFitForHostname(id)) return id as ContainerId;
  }
}

/**
 * Whether a container of this id can be called by its first twelve digits, which are its host name unless it is given another. Decimal
 * ones alone, as one id in 280 has them, look like an address: gethostbyname(3) never looks such a name up, not even in /etc/hosts, and
 * the container would not find itself. Docker has no such ids either.
 */
export function isFitForHostname(id: string): boolean {
  return !/^[0-9]{12}/.test(id);
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import { parseStoreUrl } from '../../manager/store/etcd/access.ts';
import type { EtcdAccess } from '../../proto/types/index.ts';

/**
 * What `tsswarm init --store` leaves for the daemon that it starts. A file (mode 0600): it holds a password and a key, and
 * those that the user named may be gone at the next start.
 */
export const storeRequestPath = (stateDir: string): string => join(stateDir, 'store.json');

/** How a user names an external store: options of `tsswarm init` and flags of the daemon. */
export interface StoreOptions {
  readonly store?: string | undefined;
  readonly storeCacert?: string | undefined;
  readonly storeCert?: string | undefined;
  readonly storeKey?: string | undefined;
  readonly storePasswordFile?: string | undefined;
}

/** Where a password may come from that is to be in no file and on no command line. */
export const PASSWORD_VARIABLE = 'TSSWARM_STORE_PASSWORD';

/**
 * The external store that is asked for, with what its files say; undefined: none is.
 * @throws INVALID_INPUT
 */
export function readStoreAccess(
  { store, storeCacert, storeCert, storeKey, storePasswordFile }: StoreOptions,
  environment: Readonly<Record<string, string | undefined>>,
): EtcdAccess | undefined {
  const files = {
    '--store-cacert': storeCacert,
    '--store-cert': storeCert,
    '--store-key': storeKey,
    '--store-password-file': storePasswordFile,
  };
  if (store === undefined) {
    const idle = Object.entries(files).find(([, path]) => path !== undefined)?.[0];
    if (idle === undefined) return undefined;
    throw bad(`using ${idle}: it belongs to an external store, and none is named`, 'add --store etcds://<host>:2379');
  }
  const access = parseStoreUrl(store);
  if (!access.tls && (storeCacert ?? storeCert ?? storeKey) !== undefined)
    throw bad('using certificates for the store: it is not spoken to by TLS', 'begin the URL with etcds://');
  if ((storeCert === undefined) !== (storeKey === undefined))
    throw bad('using a client certificate for the store: it takes both --store-cert and --store-key');
  const password =
    storePasswordFile === undefined
      ? environment[PASSWORD_VARIABLE] || access.password
      : read('--store-password-file', storePasswordFile).replace(/\r?\n$/, '');
  if (access.user === '' && storePasswordFile !== undefined)
    throw bad('using --store-password-file: the URL names no user', 'as etcds://<user>@<host>:2379');
  if (access.user !== '' && password === '')
    throw bad(
      `using the store as "${access.user}": there is no password`,
      `use --store-password-file, or the variable ${PASSWORD_VARIABLE}`,
    );
  return {
    ...access,
    password: access.user === '' ? '' : password,
    caCertificate: readPem('--store-cacert', storeCacert, 'CERTIFICATE'),
    certificate: readPem('--store-cert', storeCert, 'CERTIFICATE'),
    key: readPem('--store-key', storeKey, 'PRIVATE KEY'),
  };
}

function readPem(option: string, path: string | undefined, kind: string): string {
  if (path === undefined) return '';
  const text = read(option, path);
  if (text.includes(`${kind}-----`)) return text;
  throw bad(`using ${option} "${path}": it holds no ${kind.toLowerCase()} in PEM`);
}

function read(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw bad(`reading ${option} "${path}": ${errnoOf(error) ?? messageOf(error)}`);
  }
}

function bad(message: string, hint?: string): TsswarmError {
  return new TsswarmError('INVALID_INPUT', message, hint === undefined ? {} : { hint });
}

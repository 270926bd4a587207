import { constants } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import { KeyedQueue } from '../../base/async.ts';
import { certificatesOf, identityOf } from '../../proto/rpc/certificate.ts';
import type { NodeIdentity } from '../../proto/rpc/certificate.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';

const SEALED = 'TSSWARM SEALED PRIVATE KEY';

/** Seals the private key at rest, where the cluster is locked (autolock). */
export interface KeyProtection {
  /** Whether keys are sealed when they are saved; those that are sealed are opened in any case. */
  readonly active: boolean;
  seal(plain: Uint8Array): Uint8Array;
  /** @throws when the bytes were sealed with another key */
  open(sealed: Uint8Array): Uint8Array;
}

/** Where a node keeps who it is: `node.pem` (private key and certificate chain, mode 0600) and `roots.pem`. */
export interface IdentityDisk {
  /**
   * Undefined: the node belongs to no cluster yet.
   * @throws CORRUPT; PERMISSION_DENIED when others may read the key; LOCKED when there is no protection to open it
   */
  load(): Promise<TlsIdentity | undefined>;
  /** On disk (synced) when it resolves; a crash leaves the old identity or the new one. */
  save(identity: TlsIdentity): Promise<void>;
  /** What the certificate says, without the key. @throws CORRUPT */
  peek(): Promise<{ readonly node: NodeIdentity; readonly sealed: boolean } | undefined>;
  /** Seals or opens the key on disk as the protection says now. Nothing happens where there is no identity. */
  reseal(): Promise<void>;
  /** Forgets the identity: the node has left. */
  remove(): Promise<void>;
}

/** @param protection undefined: the key lies there as it is, guarded by file mode alone; asked at each use */
export function identityDisk(dir: string, protection: () => KeyProtection | undefined = () => undefined): IdentityDisk {
  const nodeFile = join(dir, 'node.pem');
  const rootsFile = join(dir, 'roots.pem');
  // One writer at a time: what is sealed anew must not replace what was saved meanwhile.
  const writes = new KeyedQueue();
  const inTurn = (work: () => Promise<void>): Promise<void> => writes.run('', work);
  const write = async (key: string, certificate: string): Promise<void> => {
    await replaceFile(dir, nodeFile, sealKey(key, protection()) + certificate);
  };
  return {
    async peek() {
      const text = await readIfThere(nodeFile);
      if (text === undefined) return undefined;
      const { key, certificate } = split(text);
      try {
        return { node: identityOf(certificate), sealed: key.includes(SEALED) };
      } catch (cause) {
        throw incomplete(dir, cause);
      }
    },
    reseal: () =>
      inTurn(async () => {
        const text = await readIfThere(nodeFile);
        if (text === undefined) return;
        const { key, certificate } = split(text);
        if (!key.includes(SEALED) && protection()?.active !== true) return;
        await write(openKey(key, nodeFile, protection()), certificate);
      }),
    async load() {
      const text = await readIfThere(nodeFile);
      if (text === undefined) return undefined;
      const mode = (await stat(nodeFile)).mode & 0o777;
      if ((mode & 0o077) !== 0) {
        throw new TsswarmError(
          'PERMISSION_DENIED',
          `reading the private key "${nodeFile}": its mode is ${mode.toString(8)}, others may read it`,
          { hint: `chmod 600 ${nodeFile}, and join anew if somebody could have read it` },
        );
      }
      const roots = (await readIfThere(rootsFile)) ?? '';
      const { certificate, key: stored } = split(text);
      const key = openKey(stored, nodeFile, protection());
      try {
        identityOf(certificate);
        if (certificatesOf(roots).length === 0) throw new Error('no root');
      } catch (cause) {
        throw incomplete(dir, cause);
      }
      return { certificate, key, roots };
    },
    save: ({ certificate, key, roots }) =>
      inTurn(async () => {
        await mkdir(dir, { recursive: true, mode: 0o700 });
        // Roots first: a new certificate without its root would be of no use, an old one under more roots is.
        await replaceFile(dir, rootsFile, roots);
        await write(key, certificate);
      }),
    async remove() {
      await rm(nodeFile, { force: true });
      await rm(rootsFile, { force: true });
    },
  };
}

/** Key and certificate chain of a file: the key stands first. */
function split(text: string): { readonly key: string; readonly certificate: string } {
  const begin = text.indexOf('-----BEGIN CERTIFICATE-----');
  return { key: text.slice(0, Math.max(0, begin)), certificate: begin < 0 ? '' : text.slice(begin) };
}

function incomplete(dir: string, cause: unknown): TsswarmError {
  return new TsswarmError('CORRUPT', `reading the identity in "${dir}": it is not complete`, {
    cause,
    hint: 'restore the folder from a backup, or join anew: tsswarm leave --force, then tsswarm join',
  });
}

function sealKey(key: string, protection: KeyProtection | undefined): string {
  if (protection?.active !== true) return key.endsWith('\n') ? key : `${key}\n`;
  const sealed = Buffer.from(protection.seal(Buffer.from(key))).toString('base64');
  return `-----BEGIN ${SEALED}-----\n${sealed.replace(/.{64}/g, '$&\n').trimEnd()}\n-----END ${SEALED}-----\n`;
}

function openKey(text: string, file: string, protection: KeyProtection | undefined): string {
  if (!text.includes(SEALED)) return text;
  if (protection === undefined) {
    throw new TsswarmError('LOCKED', `reading the private key "${file}": it is locked`, {
      hint: 'tsswarm unlock',
    });
  }
  return Buffer.from(protection.open(Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64'))).toString();
}

async function replaceFile(dir: string, file: string, text: string): Promise<void> {
  const temporary = `${file}.new`;
  await rm(temporary, { force: true });
  const { O_WRONLY, O_CREAT, O_EXCL } = constants;
  const handle = await open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const folder = await open(dir, constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

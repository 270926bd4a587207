import { X509Certificate, createPrivateKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { FoundingCa } from '../../manager/ca/founding.ts';
import type { ExternalCa } from '../../proto/types/index.ts';

/**
 * Reads `--external-ca protocol=cfssl,url=https://…[,cacert=<file>]`, as Docker has it.
 * @throws INVALID_INPUT, NOT_SUPPORTED for an option that is not known here
 */
export async function readExternalCas(texts: readonly string[] = []): Promise<readonly ExternalCa[]> {
  return Promise.all(texts.map(async (text) => caOf(fieldsOf(text, ['protocol', 'url', 'cacert']))));
}

/**
 * Reads it for a cluster that does not exist yet. Its root is the CA's: `cacert` has to say which, once at least. With `cert` and
 * `key` the CA lets the first manager in, which has no certificate of the cluster to show.
 * @throws INVALID_INPUT, NOT_SUPPORTED
 */
export async function readFoundingCas(texts: readonly string[] = []): Promise<readonly FoundingCa[]> {
  const cas = await Promise.all(
    texts.map(async (text) => {
      const fields = fieldsOf(text, ['protocol', 'url', 'cacert', 'cert', 'key']);
      const client = await clientOf(fields);
      return { ...(await caOf(fields)), ...(client === undefined ? {} : { client }) };
    }),
  );
  const root = cas.find(({ rootCertificate }) => rootCertificate !== '')?.rootCertificate;
  if (cas.length === 0) return [];
  const action = `using --external-ca "${texts.join(' ')}" with init`;
  if (root === undefined) {
    throw new TsswarmError('INVALID_INPUT', `${action}: which root it signs with is not said`, {
      hint: 'add its certificate: protocol=cfssl,url=https://…,cacert=<file>',
    });
  }
  const { readExternalRoot } = await import('../../manager/ca/external.ts');
  const { certificate } = await readExternalRoot(root, '', Date.now());
  for (const ca of cas) {
    if (ca.rootCertificate === '') continue;
    const other = await readExternalRoot(ca.rootCertificate, '', Date.now());
    if (other.certificate === certificate) continue;
    throw new TsswarmError('INVALID_INPUT', `${action}: "${ca.url}" signs with another root than the first`, {
      hint: 'a cluster has one root: name CAs that have its key, or one alone',
    });
  }
  return cas.map((ca) => ({ ...ca, rootCertificate: certificate }));
}

/** The fields of one value of the option. */
interface Fields {
  readonly text: string;
  readonly values: ReadonlyMap<string, string>;
}

function fieldsOf(text: string, known: readonly string[]): Fields {
  const values = new Map<string, string>();
  for (const part of text.split(',')) {
    const [, name, value] = /^\s*([^=]+)=(.*)$/.exec(part) ?? [];
    if (name === undefined || value === undefined) throw bad(text, `"${part}" is not <key>=<value>`);
    if (!known.includes(name.toLowerCase()))
      throw new TsswarmError('NOT_SUPPORTED', `using --external-ca "${text}": the option "${name}" is not known`, {
        hint: `known are ${known.slice(0, -1).join(', ')} and ${known.at(-1) ?? ''}`,
      });
    values.set(name.toLowerCase(), value.trim());
  }
  return { text, values };
}

async function caOf({ text, values }: Fields): Promise<ExternalCa> {
  const [protocol, url, cacert] = ['protocol', 'url', 'cacert'].map((name) => values.get(name));
  if (protocol?.toLowerCase() !== 'cfssl') throw bad(text, `the protocol is "${protocol ?? ''}", expected cfssl`);
  if (url === undefined || !/^https:\/\//.test(url) || !URL.canParse(url)) throw bad(text, 'expected a URL with https');
  return { protocol: 'cfssl', url, rootCertificate: cacert === undefined ? '' : await pemIn('cacert', cacert) };
}

async function clientOf({ text, values }: Fields): Promise<FoundingCa['client']> {
  const [cert, keyFile] = [values.get('cert'), values.get('key')];
  if (cert === undefined && keyFile === undefined) return undefined;
  if (cert === undefined || keyFile === undefined) throw bad(text, 'there is one of cert and key, expected both');
  const [certificate, key] = [await pemIn('cert', cert), await pemIn('key', keyFile)];
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new TsswarmError('INVALID_INPUT', `using cert "${cert}" and key "${keyFile}": ${messageOf(cause)}`, {
      cause,
      hint: 'expected a certificate and its private key in PEM, not encrypted',
    });
  }
  if (!fits) throw bad(text, `the key "${keyFile}" is not that of the certificate "${cert}"`);
  return { certificate, key };
}

function bad(text: string, reason: string): TsswarmError {
  return new TsswarmError('INVALID_INPUT', `using --external-ca "${text}": ${reason}`, {
    hint: 'as protocol=cfssl,url=https://ca.example:8888/api/v1/cfssl/sign',
  });
}

/** A file that an option names. @throws INVALID_INPUT */
export async function pemIn(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new TsswarmError('INVALID_INPUT', `using ${option} "${path}": ${errnoOf(cause) ?? messageOf(cause)}`, {
      cause,
    });
  }
}

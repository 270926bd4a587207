import { readFile } from 'node:fs/promises';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { ExternalCa } from '../../proto/types/index.ts';

/**
 * Reads `--external-ca protocol=cfssl,url=https://…[,cacert=<file>]`, as Docker has it.
 * @throws INVALID_INPUT, NOT_SUPPORTED for an option that is not known here
 */
export async function readExternalCas(texts: readonly string[] = []): Promise<readonly ExternalCa[]> {
  return Promise.all(texts.map(readOne));
}

async function readOne(text: string): Promise<ExternalCa> {
  const bad = (reason: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `using --external-ca "${text}": ${reason}`, {
      hint: 'as protocol=cfssl,url=https://ca.example:8888/api/v1/cfssl/sign',
    });
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const [, name, value] = /^\s*([^=]+)=(.*)$/.exec(part) ?? [];
    if (name === undefined || value === undefined) throw bad(`"${part}" is not <key>=<value>`);
    if (!['protocol', 'url', 'cacert'].includes(name.toLowerCase()))
      throw new TsswarmError('NOT_SUPPORTED', `using --external-ca "${text}": the option "${name}" is not known`, {
        hint: 'known are protocol, url and cacert',
      });
    fields.set(name.toLowerCase(), value.trim());
  }
  const [protocol, url, cacert] = ['protocol', 'url', 'cacert'].map((name) => fields.get(name));
  if (protocol?.toLowerCase() !== 'cfssl') throw bad(`the protocol is "${protocol ?? ''}", expected cfssl`);
  if (url === undefined || !/^https:\/\//.test(url) || !URL.canParse(url)) throw bad('expected a URL with https');
  return { protocol: 'cfssl', url, rootCertificate: cacert === undefined ? '' : await pemIn('cacert', cacert) };
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

/**
 * Refuses it for a cluster that does not exist yet: the first manager needs a certificate to show to the service.
 * @throws NOT_SUPPORTED
 */
export function refuseAtInit(texts: readonly string[] | undefined): void {
  if (texts === undefined) return;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `using --external-ca "${texts.join(' ')}" with init: the service lets managers in by a certificate of the cluster, and there is none yet`,
    { hint: 'init without it, then: tsswarm ca --rotate --ca-cert <file> --external-ca protocol=cfssl,url=…' },
  );
}

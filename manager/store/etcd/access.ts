import { TsswarmError } from '../../../base/errors.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';

const DEFAULT_PORT = 2379;
const DEFAULT_PREFIX = '/tsswarm/';
const SCHEMES = { 'etcd:': false, 'etcds:': true } as const;

/**
 * The way to an etcd cluster that a URL names: `etcd://[user[:password]@]host[:port][,host[:port]…][/prefix]`; with `etcds:` it
 * is spoken to by TLS. Certificates are added by whoever has read them.
 * @throws INVALID_INPUT; the message does not repeat a password
 */
export function parseStoreUrl(text: string): EtcdAccess {
  const shown = text.replace(/\/\/[^@/]*@/, '//***@');
  const bad = (reason: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `using the store "${shown}": ${reason}`, {
      hint: 'as etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/prefix, or etcds://… for TLS',
    });
  const [, scheme = '', user, password, hosts = '', path = ''] =
    /^([a-z0-9+]*:)\/\/(?:([^:@/]*)(?::([^@/]*))?@)?([^/?#]*)(\/[^?#]*)?$/.exec(text) ?? [];
  const tls = SCHEMES[scheme as keyof typeof SCHEMES] as boolean | undefined;
  if (tls === undefined) throw bad('expected a URL that begins with etcd:// or etcds://');
  const endpoints = hosts.split(',').map((host) => endpointOf(host, bad));
  if (new Set(endpoints).size < endpoints.length) throw bad('a member is named twice');
  return {
    endpoints,
    prefix: prefixOf(path, bad),
    tls,
    caCertificate: '',
    certificate: '',
    key: '',
    user: decode(user ?? '', bad),
    password: decode(password ?? '', bad),
  };
}

/** The URL of an access without its password: for people. */
export function storeUrl({ endpoints, prefix, tls, user }: EtcdAccess): string {
  const who = user === '' ? '' : `${encodeURIComponent(user)}@`;
  return `${tls ? 'etcds' : 'etcd'}://${who}${endpoints.join(',')}${prefix.slice(0, -1)}`;
}

function endpointOf(text: string, bad: (reason: string) => TsswarmError): string {
  const [, host, port = String(DEFAULT_PORT)] =
    /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (host === undefined) throw bad(`"${text}" is not <host>[:<port>]`);
  if (Number(port) < 1 || Number(port) > 65535) throw bad(`the port ${port} is not between 1 and 65535`);
  return `${host}:${port}`;
}

/** Keys are compared byte for byte: a prefix begins and ends with one slash, and is ASCII. */
function prefixOf(path: string, bad: (reason: string) => TsswarmError): string {
  const names = path.split('/').filter((name) => name !== '');
  if (names.length === 0) return DEFAULT_PREFIX;
  const odd = names.find((name) => !/^[A-Za-z0-9._-]+$/.test(name));
  if (odd !== undefined) throw bad(`"${odd}" in the prefix: only letters, digits and . _ - are allowed`);
  return `/${names.join('/')}/`;
}

function decode(text: string, bad: (reason: string) => TsswarmError): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw bad('the user or password has a % that begins no escape (write %25 for it)');
  }
}

import { TsswarmError } from './errors.ts';

/** A name of an image, complete: `docker.io/library/nginx:latest`. */
export interface ImageReference {
  /** Host with port, as users write it: "docker.io", "localhost:5000", "[::1]:5000". */
  readonly domain: string;
  /** Path at the registry: "library/nginx". */
  readonly path: string;
  /** Empty only when there is a digest. */
  readonly tag: string;
  /** "sha256:…" or empty. With a digest the tag is a remark. */
  readonly digest: string;
}

const DEFAULT_DOMAIN = 'docker.io';
const MAX_NAME_LENGTH = 255;

// The grammar of the distribution project: lower-case components joined by one of . _ __ or dashes.
const PATH = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const DOMAIN = new RegExp(String.raw`^(?:${LABEL}(?:\.${LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether `text` is a digest of the kind that is used here. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/**
 * Reads an image name as Docker does: "nginx" is docker.io/library/nginx:latest; the part before the first slash is a
 * registry when it has a dot or a port or is "localhost"; a digest makes the tag unnecessary.
 * @throws INVALID_INPUT that says which part is wrong
 */
export function parseReference(text: string): ImageReference {
  const wrong = (what: string, hint?: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `reading the image name "${text}": ${what}`, hint === undefined ? {} : { hint });
  if (text === '') throw wrong('it is empty, a name such as "nginx:1.27" was expected');
  if (/^[0-9a-f]{64}$/.test(text))
    throw wrong('it is an image id, a name was expected', 'write "sha256:" before an id');
  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && !isDigest(digest)) throw wrong(`the digest "${digest}" is no "sha256:" with 64 hexadecimal digits`);
  const named = at < 0 ? text : text.slice(0, at);
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const hasDomain = slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const rest = hasDomain ? named.slice(slash + 1) : named;
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? '' : rest.slice(colon + 1);
  const domain = hasDomain ? first : DEFAULT_DOMAIN;
  if (!validDomain(domain)) throw wrong(`"${domain}" is no host name with an optional port`);
  if (path === '') throw wrong('the name before the tag or digest is missing');
  if (path !== path.toLowerCase())
    throw wrong(`the name "${path}" has capital letters`, `registries know lower case only: ${path.toLowerCase()}`);
  if (!PATH.test(path)) throw wrong(`"${path}" may hold only a-z, 0-9 and single . _ - / between them`);
  if (colon >= 0 && !TAG.test(tag))
    throw wrong(`the tag "${tag}" may hold only letters, digits, _ . - (at most 128, not . or - first)`);
  const familiar = domain === DEFAULT_DOMAIN || domain === 'index.docker.io';
  const reference: ImageReference = {
    domain: familiar ? DEFAULT_DOMAIN : domain,
    path: familiar && !path.includes('/') ? `library/${path}` : path,
    tag: tag === '' && digest === '' ? 'latest' : tag,
    digest,
  };
  if (repositoryOf(reference).length > MAX_NAME_LENGTH) throw wrong(`it is longer than ${MAX_NAME_LENGTH} characters`);
  return reference;
}

/** "docker.io/library/nginx" */
export function repositoryOf(reference: ImageReference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The name under which an image is kept: by digest where one is given, else by tag. */
export function formatReference(reference: ImageReference): string {
  return repositoryOf(reference) + (reference.digest === '' ? `:${reference.tag}` : `@${reference.digest}`);
}

/** As users write it: "nginx:latest", "localhost:5000/app:1". */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(library\/(?=[^/]+$))?/, '');
}

function validDomain(domain: string): boolean {
  const port = /:(\d+)$/.exec(domain)?.[1];
  return DOMAIN.test(domain) && (port === undefined || (Number(port) > 0 && Number(port) < 65_536));
}

import type { Reader } from './reader.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64' };
/** Variants that every machine of the architecture has. */
const PLAIN_VARIANTS: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8' };

/**
 * `platform`: "linux", "linux/amd64", "linux/arm64/v8", in the names that nodes have for themselves.
 * @throws INVALID_COMPOSE or NOT_SUPPORTED with the place
 */
export function readPlatform(reader: Reader): string | undefined {
  const text = reader.text('platform');
  if (text === undefined) return undefined;
  const [os = '', given, variant, ...more] = text.toLowerCase().split('/');
  const hint = 'as linux/amd64';
  if (!/^[a-z0-9]+$/.test(os) || given === '' || variant === '' || more.length > 0)
    return reader.refuse('platform', `is "${text}", expected <os>[/<architecture>[/<variant>]]`, hint);
  if (os !== 'linux') return reader.notYet('platform', `"${text}" (nodes are linux)`);
  if (given === undefined) return os;
  const architecture = ARCHITECTURES[given] ?? given;
  if (variant !== undefined && PLAIN_VARIANTS[architecture] !== variant)
    reader.notYet('platform', `"${text}" (nodes do not tell their variant)`);
  return `${os}/${architecture}`;
}

/** Constraints that leave only nodes of a platform. */
export function platformConstraints(platform: string | undefined): readonly string[] {
  const [os, architecture] = platform?.split('/') ?? [];
  return [
    ...(os === undefined ? [] : [`node.platform.os==${os}`]),
    ...(architecture === undefined ? [] : [`node.platform.arch==${architecture}`]),
  ];
}

import { endianness } from 'node:os';
import type { IndexEntry, Platform } from './manifest.ts';

/** Go's names (GOARCH), which images use, for Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** The platform of this machine: what images must be made for. */
export function hostPlatform(): Platform {
  const { arch } = process;
  const architecture = arch === 'ppc64' && endianness() === 'LE' ? 'ppc64le' : (ARCHITECTURES[arch] ?? arch);
  const variant = arch === 'arm64' ? 'v8' : arch === 'arm' ? 'v7' : '';
  return { os: 'linux', architecture, variant };
}

/** "linux/arm/v7" */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}

/**
 * The entry of an index for a platform: of the same variant, else the next lower one (arm v7 runs v6 and v5; amd64
 * without a variant is v1 and always runs). Of equals the first, as the index orders them.
 */
export function choosePlatform(entries: readonly IndexEntry[], wanted: Platform): IndexEntry | undefined {
  let best: IndexEntry | undefined;
  let bestRank = -1;
  for (const entry of entries) {
    const rank = entry.platform === undefined ? -1 : platformRank(entry.platform, wanted);
    if (rank > bestRank) [best, bestRank] = [entry, rank];
  }
  return best;
}

/** How well an image's platform suits: -1 not at all, else the higher the better. */
export function platformRank(offered: Platform, wanted: Platform): number {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return -1;
  const level = variantLevel(offered);
  return level <= variantLevel(wanted) ? level : -1;
}

/** The variant as a number; where there is none, the one that it means (containerd's normalisation). */
function variantLevel({ architecture, variant }: Platform): number {
  const implied: Readonly<Record<string, number>> = { arm: 7, arm64: 8, amd64: 1 };
  return /^v\d+$/.test(variant) ? Number(variant.slice(1)) : (implied[architecture] ?? 0);
}

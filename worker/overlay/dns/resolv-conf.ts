/** The node's /etc/resolv.conf: which servers to ask about names that are not ours. */
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';

/** glibc looks at the first three (resolv.conf(5), MAXNS). */
const MAX_SERVERS = 3;

/** The addresses of the `nameserver` lines, in their order. Pure. */
export function parseNameservers(text: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .filter((address) => isIP(address) !== 0)
    .slice(0, MAX_SERVERS);
}

/**
 * A function that gives the servers as the file says now: it is read again when it has changed (DHCP, a VPN). A missing
 * file means no server.
 */
export function nameserversOf(path: string): () => readonly string[] {
  let seen = '';
  let servers: readonly string[] = [];
  return () => {
    try {
      const { ino, size, mtimeNs } = statSync(path, { bigint: true });
      const now = `${ino} ${size} ${mtimeNs}`;
      if (now !== seen) {
        servers = parseNameservers(readFileSync(path, 'utf8'));
        seen = now;
      }
    } catch {
      seen = '';
      servers = [];
    }
    return servers;
  };
}

/** Finds the process that holds a port: for the message, so that the user need not search. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { isIPv6 } from 'node:net';

export interface PortOwner {
  readonly pid: number;
  readonly command: string;
}

/**
 * The process with a socket bound to the port, on the address or on all, in our network namespace. Undefined if there is
 * none, or it is out of our sight (another pid namespace).
 * @param hostIp "0.0.0.0" or "::": on whatever address. Who holds the port in the other family alone is in nobody's way, and is
 *   asked last: a socket of IPv6 may hold it in both, which cannot be seen from outside
 */
export function portOwner(protocol: 'tcp' | 'udp' | 'sctp', hostIp: string, port: number): PortOwner | undefined {
  if (protocol === 'sctp') return undefined;
  const tables = [`/proc/net/${protocol}`, `/proc/net/${protocol}6`];
  if (isIPv6(hostIp)) tables.reverse();
  const isAnywhere = hostIp === '0.0.0.0' || isIPv6(hostIp);
  for (const table of tables) {
    const sockets = boundSockets(readOrEmpty(table)).filter(
      (socket) => socket.port === port && (isAnywhere || socket.any || socket.ipv4 === hostIp),
    );
    const owner = holderOf(new Set(sockets.map(({ inode }) => `socket:[${inode}]`)));
    if (owner !== undefined) return owner;
  }
  return undefined;
}

function holderOf(inodes: ReadonlySet<string>): PortOwner | undefined {
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    if (descriptors(pid).some((target) => inodes.has(target)))
      return { pid: Number(pid), command: readOrEmpty(`/proc/${pid}/comm`).trim() };
  }
  return undefined;
}

interface BoundSocket {
  readonly ipv4: string;
  /** Bound to every address. */
  readonly any: boolean;
  readonly port: number;
  readonly inode: string;
}

const TCP_LISTEN = '0A';
const UDP_UNCONNECTED = '07';

/** Lines of /proc/net/tcp and the like (proc(5)): "sl local_address rem_address st … uid timeout inode". */
function boundSockets(table: string): readonly BoundSocket[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', , state = '', , , , , , inode = ''] = line.trim().split(/\s+/);
      const [address = '', port = ''] = local.split(':');
      if (state !== TCP_LISTEN && state !== UDP_UNCONNECTED) return [];
      // The last word is the IPv4 address in the machine's byte order, also of a mapped IPv6 address.
      const word = Buffer.from(address.slice(-8), 'hex').reverse();
      return [{ ipv4: [...word].join('.'), any: /^0+$/.test(address), port: parseInt(port, 16), inode }];
    });
}

function descriptors(pid: string): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return '';
      }
    });
  } catch {
    return [];
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

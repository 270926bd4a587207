import type { Network, Node } from '../../proto/types/index.ts';
import { formatAddress, nextAddress, parseAddress, parseSubnet } from './ipv4.ts';

/** Swarm's first identifier; below it are the mesh's and what people use by hand. */
const FIRST_VNI = 4096;
/** Identifiers have 24 bits. */
const VNIS = 2 ** 24 - FIRST_VNI;
/** Link-local (RFC 3927), so it is in no network's way; beyond what clouds use of it for their services (169.254.169–170). */
const MESH_POOL = parseSubnet('169.254.192.0/18');

/** What overlay networks need beside subnets. */
export interface OverlayAllocation {
  readonly networks: readonly Network[];
  readonly nodes: readonly Node[];
}

/** Gives identifiers to overlay networks and mesh addresses to nodes that can be reached; only what changes is returned. */
export function allocateOverlay(networks: readonly Network[], nodes: readonly Node[]): OverlayAllocation {
  return { networks: withIdentifiers(networks), nodes: withMeshAddresses(nodes) };
}

/**
 * The identifier follows from the network's id: it is not given again soon, so a node that was cut off never mixes up two
 * networks, and two clusters on one wire hardly ever have the same.
 */
function withIdentifiers(networks: readonly Network[]): readonly Network[] {
  const waiting = networks.filter(
    ({ spec, vni, pendingDelete }) => spec.driver === 'overlay' && vni === undefined && !pendingDelete,
  );
  if (waiting.length === 0) return [];
  const used = new Set(networks.map(({ vni }) => vni));
  return waiting.map((network) => {
    let vni = FIRST_VNI + (hash(network.id) % VNIS);
    while (used.has(vni)) vni = FIRST_VNI + ((vni - FIRST_VNI + 1) % VNIS);
    used.add(vni);
    return { ...network, vni };
  });
}

function withMeshAddresses(nodes: readonly Node[]): readonly Node[] {
  const waiting = nodes.filter(
    ({ description, meshAddress }) => description.overlay !== undefined && meshAddress === undefined,
  );
  if (waiting.length === 0) return [];
  const used = new Set(
    nodes.flatMap(({ meshAddress }) => (meshAddress === undefined ? [] : parseAddress(meshAddress))),
  );
  let last = Math.max(MESH_POOL.base, ...used);
  return waiting.flatMap((node) => {
    const address = nextAddress(MESH_POOL, used, last);
    // As many nodes as no cluster has: the others answer on published ports, this one for its own tasks only.
    if (address === undefined) return [];
    used.add(address);
    last = address;
    return { ...node, meshAddress: formatAddress(address) };
  });
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return value;
}

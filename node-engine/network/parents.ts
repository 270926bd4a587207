/** Cards that containers are on without a bridge: looked up, and VLANs on them made, found again and removed. */
import { hostname } from 'node:os';
import { TsswarmError } from '../../base/errors.ts';
import type { NetworkId } from '../../base/ids.ts';
import { OPTIONAL_DRIVERS, vlanOf } from '../../base/network-driver.ts';
import type { DirectLink } from '../../base/network-driver.ts';
import { createVlan, probeKind } from './direct-link.ts';
import { kernel, refused, tryKernel } from './kernel.ts';
import { formatParentAlias, parseParentAlias } from './names.ts';
import type { Link } from './route.ts';
import { deleteLink, linksOf, listLinks, setLink } from './route.ts';

/** Marks a VLAN of ours that has no alias yet. */
const GROUP = 0x7473;

/** Drivers that this kernel has what it takes for. Asking loads the kernel's module where it is one. */
export async function optionalDrivers(): Promise<readonly string[]> {
  const { failures } = await tryKernel({ outside: OPTIONAL_DRIVERS.map(probeKind) });
  return OPTIONAL_DRIVERS.filter((_, index) => failures[index]?.errno === 'EINVAL');
}

/**
 * Sees to it that the card of a network is there; a VLAN is made where only the card below it is.
 * @throws NOT_SUPPORTED where the kernel has no links of this kind; NETWORK_FAILED
 */
export async function ensureParent(
  instance: string,
  { id, name, direct }: { readonly id: NetworkId; readonly name: string; readonly direct: DirectLink },
): Promise<void> {
  const subject = `network "${name}"`;
  if (!(await optionalDrivers()).includes(direct.driver))
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `cannot set up ${subject}: the kernel of node "${hostname()}" has no ${direct.driver}`,
      { hint: `load it there ("modprobe ${direct.driver}"), or place the service on nodes that have it` },
    );
  const links = linksOf((await kernel(subject, { outside: [listLinks()] })).outside);
  const there = links.find((link) => link.name === direct.parent);
  const isHalfMade = there?.kind === 'vlan' && there.group === GROUP && there.alias === '';
  if (there !== undefined && !isHalfMade) {
    const owner = parseParentAlias(there.alias);
    if (owner !== undefined && (owner.instance !== instance || owner.networkId !== id))
      throw new TsswarmError(
        'NETWORK_FAILED',
        `cannot set up ${subject}: the VLAN "${direct.parent}" belongs to network "${owner.networkId}"`,
        { hint: 'give each network a VLAN of its own' },
      );
    if (there.up) return;
    if (owner === undefined) throw isDown(subject, there.name);
  }
  if (there === undefined) {
    const vlan = vlanOf(direct.parent);
    const card = links.find((link) => link.name === vlan?.card);
    if (vlan === undefined || card === undefined)
      throw new TsswarmError(
        'NETWORK_FAILED',
        `cannot set up ${subject}: node "${hostname()}" has no interface "${vlan?.card ?? direct.parent}"`,
        { hint: 'name one of "ip link" there, or place the service on nodes that have it' },
      );
    if (!card.up) throw isDown(subject, card.name);
    const [failure] = (await tryKernel({ outside: [createVlan(direct.parent, vlan.id, card.index, GROUP)] })).failures;
    if (failure?.errno === 'ENOTSUP')
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `cannot set up ${subject}: the kernel of node "${hostname()}" has no VLANs (802.1Q)`,
        { hint: 'load them there ("modprobe 8021q"), or place the service on nodes that have them' },
      );
    if (failure !== undefined) throw refused(subject, failure);
  }
  await kernel(subject, { outside: [setLink(direct.parent, { alias: formatParentAlias(instance, id) })] });
}

const isDown = (subject: string, card: string): TsswarmError =>
  new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: the interface "${card}" is down`, {
    hint: `ip link set ${card} up`,
  });

/** Networks for which this node has a VLAN of ours. */
export async function listParents(instance: string): Promise<readonly NetworkId[]> {
  return (await ours(instance)).map(({ id }) => id);
}

/** Takes away the VLAN that was made for a network; others that it may be on stay as they are. Not existing is success. */
export async function removeParent(instance: string, id: NetworkId): Promise<void> {
  const names = (await ours(instance)).flatMap((one) => (one.id === id ? [one.link.name] : []));
  if (names.length > 0) await kernel(`network "${id}"`, { outside: names.map(deleteLink) });
}

async function ours(instance: string): Promise<readonly { readonly id: NetworkId; readonly link: Link }[]> {
  const links = linksOf((await kernel('the node', { outside: [listLinks()] })).outside);
  return links.flatMap((link) => {
    const alias = parseParentAlias(link.alias);
    return alias?.instance === instance && link.kind === 'vlan' ? [{ id: alias.networkId, link }] : [];
  });
}

/** Requests of rtnetlink for links on a card of the node: macvlan, ipvlan and VLAN (linux/if_link.h; ip-link(8)). Pure. */
import type { DirectLink } from '../../base/network-driver.ts';
import type { NetlinkMessage } from './netlink.ts';
import { NLM_F, attribute, text, u16, u32 } from './netlink.ts';
import { IFLA, RTM, linkHeader, linkInfo, macBytes } from './route.ts';

const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN = { MODE: 1, FLAGS: 2 } as const;
const IFLA_VLAN_ID = 1;
const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;
const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 } as const;

export interface DirectRequest {
  readonly link: DirectLink;
  /** Index of the card in the namespace where the request runs. */
  readonly parent: number;
  /** Of no link there: the kernel looks for the name on both sides. */
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  /** See Link. */
  readonly group: number;
  /** An open descriptor of the namespace that it is made in. */
  readonly netns: number;
}

/** A link of its own on the card, in another namespace; it is down. Of ipvlan and in passthru mode it has the card's hardware address. */
export function createDirect({ link, parent, name, mac, mtu, group, netns }: DirectRequest): NetlinkMessage {
  const hasOwnAddress = link.driver === 'macvlan' && link.mode !== 'passthru';
  return {
    what: `make a ${link.driver} link on "${link.parent}" (mode ${link.mode})`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      linkHeader(0, 0),
      attribute(IFLA.IFNAME, text(name)),
      ...(hasOwnAddress ? [attribute(IFLA.ADDRESS, macBytes(mac))] : []),
      attribute(IFLA.MTU, u32(mtu)),
      attribute(IFLA.LINK, u32(parent)),
      attribute(IFLA.GROUP, u32(group)),
      attribute(IFLA.NET_NS_FD, u32(netns)),
      linkInfo(link.driver, ...modeOf(link)),
    ]),
  };
}

function modeOf(link: DirectLink): readonly Buffer[] {
  if (link.driver === 'macvlan') return [attribute(IFLA_MACVLAN_MODE, u32(MACVLAN_MODES[link.mode]))];
  return [
    attribute(IFLA_IPVLAN.MODE, u16(IPVLAN_MODES[link.mode])),
    attribute(IFLA_IPVLAN.FLAGS, u16(IPVLAN_FLAGS[link.flag])),
  ];
}

/** Gives a link that is down another name. */
export function renameLink(index: number, name: string): NetlinkMessage {
  return {
    what: `call an interface "${name}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([linkHeader(index, 0, 0), attribute(IFLA.IFNAME, text(name))]),
  };
}

/** A VLAN (IEEE 802.1Q) on a card. The group marks it as ours before it has its alias. */
export function createVlan(name: string, id: number, card: number, group: number): NetlinkMessage {
  return {
    what: `make VLAN ${id} ("${name}")`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      linkHeader(0, 0),
      attribute(IFLA.IFNAME, text(name)),
      attribute(IFLA.LINK, u32(card)),
      attribute(IFLA.GROUP, u32(group)),
      linkInfo('vlan', attribute(IFLA_VLAN_ID, u16(id))),
    ]),
  };
}

/** Asks for a link that there cannot be, on no card: a kernel that knows the kind says EINVAL, another EOPNOTSUPP. Nothing is made. */
export function probeKind(kind: string): NetlinkMessage {
  return {
    what: `make a link of the kind "${kind}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([linkHeader(0, 0), linkInfo(kind)]),
  };
}

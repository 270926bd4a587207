import { PARENT_OPTION, isDirect, vlanOf } from '../../base/network-driver.ts';
import type { Network, Node } from '../../proto/types/index.ts';

/** Label of a node that says what a card is called there: "parent.lan" → "enp3s0". */
const LABEL = 'parent.';

/** The same object for the same card, so that most comparisons are of two pointers. */
const made = new WeakMap<Network, Map<string, Network>>();

/**
 * The network as a node is told of it: cards have other names on other machines, and a label of the node says which. A network whose
 * `parent` no label names is the same for all.
 */
export function networkOn(network: Network, node: Pick<Node, 'spec'> | undefined): Network {
  const { spec } = network;
  const parent = spec.options[PARENT_OPTION];
  if (parent === undefined || node === undefined || !isDirect(spec.driver)) return network;
  const own = parentOn(parent, node.spec.labels);
  if (own === parent) return network;
  let known = made.get(network);
  if (known === undefined) made.set(network, (known = new Map()));
  let found = known.get(own);
  if (found === undefined)
    known.set(own, (found = { ...network, spec: { ...spec, options: { ...spec.options, [PARENT_OPTION]: own } } }));
  return found;
}

/** What `parent` is called on the node. Of a VLAN the card may be named: "lan.10" → "enp3s0.10". */
function parentOn(parent: string, labels: Readonly<Record<string, string>>): string {
  const whole = labels[`${LABEL}${parent}`];
  if (whole !== undefined && whole !== '') return whole;
  const vlan = vlanOf(parent);
  const card = vlan === undefined ? undefined : labels[`${LABEL}${vlan.card}`];
  return vlan === undefined || card === undefined || card === '' ? parent : `${card}.${vlan.id}`;
}

import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { macOf } from '../../../node-engine/network/index.ts';
import type { SecureRequest, SecureSlot } from '../../../node-engine/types.ts';
import { eventually } from '../../integration/launcher/fixture.ts';
import { FRONT as CLEAR, containerId, on } from '../../integration/network/fixtures.ts';
import type { Lab } from '../../integration/network/lab.ts';
import { answerOf, openLab, show } from '../../integration/network/lab.ts';

/** As the managers choose it for encrypted networks: what WireGuard and VXLAN put around a packet has to fit on the wire. */
const FRONT = { ...CLEAR, mtu: 1390 };
const MARK = 'this-must-not-be-read-on-the-wire';
const END = 'the-end-of-the-capture';
/** Of the encrypted way by each of the two keys that a node may have. */
const SECURE = { main: '169.254.64', alternate: '169.254.128' } as const;
const PORT = { main: 4790, alternate: 4791 } as const;
const VXLAN = 4789;

/** One of two nodes with a card on a wire between them. */
interface Node {
  readonly lab: Lab;
  /** 1 or 2, and the other's. */
  readonly number: number;
  readonly other: number;
  readonly container: string;
}

describe("encrypted networks by the kernel's WireGuard", () => {
  const nodes: Node[] = [];
  const keysOf = async ({ lab }: Node): Promise<Map<SecureSlot, string>> =>
    new Map((await lab.call('secureKeys')).map(({ slot, publicKey }) => [slot, publicKey]));
  const peerOf = (node: Node): Node => nodes.find(({ number }) => number === node.other) ?? node;
  /** Makes the links of all keys, and leads packets to the other by the one that is named. */
  const secure = async (node: Node, by: SecureSlot): Promise<void> => {
    const [own, theirs] = [await keysOf(node), await keysOf(peerOf(node))];
    const links: SecureRequest['links'] = [...own.keys()].map((slot) => ({
      slot,
      address: `${SECURE[slot]}.${node.number}/18`,
      port: PORT[slot],
      peers: [
        {
          publicKey: theirs.get(slot) ?? '',
          endpoint: `10.99.0.${node.other}`,
          port: PORT[slot],
          address: `${SECURE[slot]}.${node.other}`,
          isTried: true,
        },
      ],
    }));
    const routes = [...own.keys()].map((slot) => ({ to: `${SECURE[slot]}.${node.other}`, slot }));
    await node.lab.call('ensureSecure', { local: `10.99.0.${node.number}`, links, routes });
    const { id, name } = FRONT;
    await node.lab.call('ensureTunnel', { id, name, vni: 4711, port: VXLAN, local: '', encrypted: by });
    const ipv4 = `10.128.1.${10 + node.other}`;
    const put = [{ ipv4, mac: macOf(ipv4), peer: `${SECURE[by]}.${node.other}` }];
    await node.lab.call('changeTunnel', id, { remove: [], put });
  };
  const [first, second] = [(): Node => nodes[0] ?? ({} as Node), (): Node => nodes[1] ?? ({} as Node)];
  const answer = (): Promise<string | undefined> => answerOf(first().container, 'tcp', '10.128.1.12', 80);
  /** All that is on the wire while `work` goes on. */
  const captured = async (work: () => Promise<void>): Promise<Buffer> => {
    const file = join(first().lab.directory, 'capture');
    const argv = [
      `--net=${first().lab.node}`,
      'tcpdump',
      '-Z',
      'root',
      '-i',
      'across',
      '--immediate-mode',
      '-U',
      '-w',
      file,
    ];
    const dump = spawn('nsenter', argv, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    dump.stderr.on('data', (data: Buffer) => (said += String(data)));
    await eventually(() => said.includes('listening on'));
    await work();
    show(first().lab.node, 'bash', '-c', `echo ${END} > /dev/udp/10.99.0.2/9`);
    await eventually(() => readFileSync(file).includes(END));
    const ended = once(dump, 'exit');
    dump.kill('SIGINT');
    await ended;
    return readFileSync(file);
  };

  before(async () => {
    const labs = [await openLab(), await openLab()];
    const [a, b] = labs.map(({ node }) => basename(node));
    show(
      labs[0]?.node ?? '',
      'ip',
      'link',
      'add',
      'across',
      'type',
      'veth',
      'peer',
      'name',
      'across',
      'netns',
      b ?? '',
    );
    ok(a !== b);
    for (const [index, lab] of labs.entries()) {
      const number = index + 1;
      show(lab.node, 'ip', 'address', 'add', `10.99.0.${number}/24`, 'dev', 'across');
      show(lab.node, 'ip', 'link', 'set', 'across', 'up');
      await lab.call('ensureBridge', FRONT);
      const interfaces = [on(FRONT, 10 + number)];
      const container = await lab.call('createSandbox', containerId(String(number)), { mode: 'networks', interfaces });
      nodes.push({ lab, number, other: 3 - number, container });
    }
    await second().lab.serve(second().container, 'tcp', 80, MARK);
  });
  after(async () => {
    for (const { lab } of nodes) await lab.close();
  });

  it('carry what they are given, and nobody on the wire can read it', async () => {
    for (const node of nodes) await secure(node, 'main');
    const seen = await captured(async () => {
      await eventually(async () => (await answer()) === MARK);
    });
    ok(seen.length > MARK.length);
    ok(!seen.includes(MARK));
    ok(existsSync('/sys/module/wireguard'));
    match(show(first().lab.node, 'ip', '-details', 'link', 'show', 'type', 'wireguard'), /tsw-test/);
    equal(readFileSync('/proc/net/dev', 'utf8').includes('tsw-'), false, 'in the node, and nowhere else');
    const [session] = await first().lab.call('secureSessions');
    ok(session?.isProven === true && session.receivedBytes > 0);
  });

  it('keep link and key when the daemon is started anew', async () => {
    const before = await keysOf(first());
    await first().lab.restart();
    deepEqual(await keysOf(first()), before);
    await secure(first(), 'main');
    equal(await answer(), MARK);
  });

  it('go over to another key without an answer that is missing', async () => {
    for (const { lab } of nodes) await lab.call('addSecureKey', 'alternate');
    for (const node of nodes) await secure(node, 'main');
    equal(await answer(), MARK, 'with both links there');
    const proven = async (node: Node): Promise<boolean> =>
      (await node.lab.call('secureSessions')).filter(({ isProven }) => isProven).length === 2;
    await eventually(async () => (await proven(first())) && (await proven(second())));
    const seen = await captured(async () => {
      for (const node of nodes) {
        await secure(node, 'alternate');
        equal(await answer(), MARK, `with the next key on node ${node.number}`);
      }
      for (const { lab } of nodes) await lab.call('removeSecure', 'main');
      equal(await answer(), MARK, 'without the first one');
    });
    ok(!seen.includes(MARK));
    match(show(first().lab.node, 'ip', '-brief', 'link', 'show', 'type', 'wireguard'), /^tsw-testb\s[^\n]*\n$/);
  });

  it('say nothing rather than in the clear without their link', async () => {
    for (const { lab } of nodes) show(lab.node, 'ip', 'link', 'delete', 'tsw-testb');
    const seen = await captured(async () => equal(await answer(), undefined));
    ok(!seen.includes(MARK));
  });

  it('leave nothing when they are removed', async () => {
    for (const { lab } of nodes) {
      await lab.call('removeTunnel', FRONT.id);
      await lab.call('removeSecure');
      equal(show(lab.node, 'ip', '-brief', 'link', 'show', 'type', 'wireguard'), '');
      equal(show(lab.node, 'ip', '-brief', 'link', 'show', 'type', 'vxlan'), '');
    }
  });
});

import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { bindSocket } from '../../../node-engine/native/addon.ts';
import type { PortForward, SandboxInterface } from '../../../node-engine/types.ts';
import { BACK, FRONT, INNER, containerId, on, tcp } from './fixtures.ts';
import { eventually } from '../launcher/fixture.ts';
import type { Lab } from './lab.ts';
import { answerOf, openLab, run, show } from './lab.ts';
import { openTalker } from './talker.ts';

const NODE = '192.168.77.1';

function udp(port: number, ...backends: readonly [string, number][]): PortForward {
  return { ...tcp(port, ...backends), protocol: 'udp' };
}

describe('published ports of a node', () => {
  let lab: Lab;
  let [a, b, c] = ['', '', ''];

  before(async () => {
    lab = await openLab();
    for (const bridge of [FRONT, BACK, INNER]) await lab.call('ensureBridge', bridge);
    const sandbox = async (digit: string, ...interfaces: readonly SandboxInterface[]): Promise<string> => {
      const netns = await lab.call('createSandbox', containerId(digit), { mode: 'networks', interfaces });
      await lab.serve(netns, 'tcp', 80, digit);
      await lab.serve(netns, 'udp', 53, digit);
      return netns;
    };
    a = await sandbox('a', on(FRONT, 2));
    b = await sandbox('b', on(FRONT, 3));
    c = await sandbox('c', on(BACK, 4));
    const d = await sandbox('d', on(INNER, 5));
    // It could answer to anywhere, if only the question came.
    show(d, 'ip', 'route', 'add', 'default', 'via', '10.128.3.1');
  });
  after(() => lab.close());

  // With it, addresses are translated inside the bridge already.
  for (const bridged of ['1', '0'])
    describe(`answer with net.bridge.bridge-nf-call-iptables=${bridged}`, () => {
      before(async () => {
        show(lab.node, 'sysctl', '-qw', `net.bridge.bridge-nf-call-iptables=${bridged}`);
        deepEqual(
          await lab.call('setPorts', [
            tcp(8080, ['10.128.1.2', 80]),
            { ...tcp(8082, ['10.128.1.2', 80]), hostIp: '127.0.0.1' },
            { ...tcp(8083, ['10.128.1.2', 80]), hostIp: NODE },
            tcp(8084, ['10.128.3.5', 80]),
            tcp(8085),
            udp(5300, ['10.128.1.2', 53]),
          ]),
          [],
        );
      });

      const cases: readonly (readonly [string, () => string, string, number, string | undefined])[] = [
        ['from another machine', () => lab.client, NODE, 8080, 'a'],
        ['from localhost', () => lab.node, '127.0.0.1', 8080, 'a'],
        ['from the node by its own address', () => lab.node, NODE, 8080, 'a'],
        ['from another container of the network', () => b, NODE, 8080, 'a'],
        ['from another container by the gateway', () => b, '10.128.1.1', 8080, 'a'],
        ['from a container of another network', () => c, NODE, 8080, 'a'],
        ['from the container itself', () => a, NODE, 8080, 'a'],
        ['on 127.0.0.1 only: from localhost', () => lab.node, '127.0.0.1', 8082, 'a'],
        ['on 127.0.0.1 only: not from another machine', () => lab.client, NODE, 8082, undefined],
        ['on 127.0.0.1 only: not from a container', () => b, '10.128.1.1', 8082, undefined],
        ['on one address: there', () => lab.client, NODE, 8083, 'a'],
        ['on one address: not on another', () => lab.node, '127.0.0.1', 8083, undefined],
        ['of an internal network: from localhost', () => lab.node, '127.0.0.1', 8084, 'd'],
        ['of an internal network: not from another machine', () => lab.client, NODE, 8084, undefined],
        ['without a backend: not at all', () => lab.client, NODE, 8085, undefined],
      ];
      for (const [title, netns, address, port, expected] of cases)
        it(title, async () => {
          equal(await answerOf(netns(), 'tcp', address, port), expected);
        });

      it('while what stays within a network is not tracked by the node', async () => {
        equal(await answerOf(b, 'tcp', '10.128.1.2', 80), 'a');
        equal(await answerOf(b, 'tcp', NODE, 8080), 'a');
        const flows = show(lab.node, 'cat', '/proc/net/nf_conntrack');
        match(flows, /src=10\.128\.1\.3 dst=192\.168\.77\.1 /);
        doesNotMatch(flows, /src=10\.128\.1\.3 dst=10\.128\.1\.2 /);
      });

      it('over UDP, showing the caller to the container', async () => {
        equal(await answerOf(lab.client, 'udp', NODE, 5300), 'a 192.168.77.2');
        equal(await answerOf(lab.node, 'udp', '127.0.0.1', 5300), 'a 10.128.1.1');
      });
    });

  describe('are refused', () => {
    it('where another process listens, which is named and left alone', async () => {
      await lab.serve(lab.node, 'tcp', 8087, 'somebody else');
      const refused = await lab.call('setPorts', [tcp(8087, ['10.128.1.2', 80]), tcp(8088, ['10.128.1.2', 80])]);
      equal(refused.length, 1);
      equal(refused[0]?.forward.port, 8087);
      match(
        refused[0]?.reason ?? '',
        new RegExp(`^port is already in use by another process \\(.+, pid ${process.pid}\\): 8087/tcp$`),
      );
      equal(await answerOf(lab.client, 'tcp', NODE, 8087), 'somebody else');
      equal(await answerOf(lab.client, 'tcp', NODE, 8088), 'a');
    });

    it('where one process listens over IPv4 and another over IPv6: the first is named, whichever is the older', async () => {
      const held = { 8095: '0.0.0.0', 8096: '::' };
      const script = `for (const [port, host] of Object.entries(${JSON.stringify(held)}))
        require('node:net').createServer().listen({ port, host, ipv6Only: true }, () => console.log(port))`;
      const other = spawn('nsenter', [`--net=${lab.node}`, process.execPath, '-e', script]);
      const own = [bindSocket(lab.node, 'tcp-listen', '::', 8095), bindSocket(lab.node, 'tcp-listen', '0.0.0.0', 8096)];
      try {
        await Promise.all(own);
        let said = '';
        for await (const part of other.stdout) if ((said += String(part)).split('\n').length > 2) break;
        const refused = await lab.call('setPorts', [tcp(8095, ['10.128.1.2', 80]), tcp(8096, ['10.128.1.2', 80])]);
        deepEqual(
          refused.map(({ reason }) => /\(.+, pid (\d+)\)/.exec(reason)?.[1]),
          [other.pid, process.pid].map(String),
        );
      } finally {
        other.kill('SIGKILL');
        for (const { fd } of await Promise.all(own)) closeSync(fd);
      }
    });

    const cases: readonly (readonly [string, readonly PortForward[], string])[] = [
      ['twice', [tcp(8089), tcp(8089)], 'port is already allocated: 8089/tcp'],
      [
        'on all addresses beside one',
        [{ ...tcp(8089), hostIp: '127.0.0.1' }, tcp(8089)],
        'port is already allocated: 8089/tcp',
      ],
      [
        'on an address of another machine',
        [{ ...tcp(8089), hostIp: '192.0.2.1' }],
        'the address "192.0.2.1" is not an address of this node',
      ],
      [
        'over IPv6 where no container has it, and nobody hands it over',
        [{ ...tcp(8089, ['10.128.1.2', 80]), protocol: 'sctp', hostIp: '::1' }],
        'cannot publish on "::1" with sctp: no network of the containers that a port leads to has IPv6 (enable_ipv6)',
      ],
      ['with an impossible number', [tcp(65536)], 'cannot publish the port 65536: expected a number from 1 to 65535'],
    ];
    for (const [title, forwards, reason] of cases)
      it(title, async () => {
        const refused = await lab.call('setPorts', forwards);
        deepEqual(refused.map((one) => one.reason), [reason]); // prettier-ignore
      });
  });

  describe('as they change', () => {
    /** Who answers to so many callers. */
    const seen = async (port: number, times: number): Promise<readonly (string | undefined)[]> => {
      const answers = Array.from({ length: times }, (_, i) =>
        answerOf(i % 2 ? lab.client : lab.node, 'tcp', NODE, port),
      );
      return [...new Set(await Promise.all(answers))].sort();
    };

    it('lead to every backend', async () => {
      deepEqual(await lab.call('setPorts', [tcp(8081, ['10.128.1.2', 80], ['10.128.1.3', 80]), tcp(80)]), []);
      deepEqual(await seen(8081, 20), ['a', 'b']);
    });

    it('lead a caller to the same backend again, where that is asked for', async () => {
      const forward = tcp(8095, ['10.128.1.2', 80], ['10.128.1.3', 80], ['10.128.2.4', 80]);
      await lab.call('setPorts', [{ ...forward, affinity: 'client' }]);
      const answers = await Promise.all(Array.from({ length: 8 }, () => answerOf(lab.client, 'tcp', NODE, 8095)));
      deepEqual([answers.length, new Set(answers).size], [8, 1]);
    });

    it('change their backends with the next call', async () => {
      for (const [backends, expected] of [
        [[['10.128.1.2', 80]], ['a']],
        [[['10.128.2.4', 80]], ['c']],
        [[['10.128.1.3', 80], ['10.128.2.4', 80]], ['b', 'c']], // prettier-ignore
        [[['10.128.1.2', 80], ['10.128.2.4', 80]], ['a', 'c']], // prettier-ignore
        [[['10.128.1.3', 80]], ['b']],
        [[], [undefined]],
      ] as const) {
        deepEqual(await lab.call('setPorts', [tcp(8081, ...(backends as readonly [string, number][]))]), []);
        deepEqual(await seen(8081, 16), expected);
      }
    });

    it('refuse nobody while they change without rest', async () => {
      const [one, two, three] = [
        ['10.128.1.2', 80],
        ['10.128.1.3', 80],
        ['10.128.2.4', 80],
      ] as const;
      await lab.call('setPorts', [tcp(8096, [...one], [...two])]);
      const talker = openTalker(lab.node);
      try {
        // A packet that is just on its way through the rules is a matter of microseconds: it takes many of both.
        const knocked = talker.call('knock', '127.0.0.1', 8096, 6_000);
        let over = false;
        void knocked.finally(() => (over = true));
        for (let change = 0; !over; change++) {
          const all = [one, two, three].filter((_, index) => index !== change % 4);
          await lab.call('setPorts', [tcp(8096, ...all.map(([ip, port]): [string, number] => [ip, port]))]);
        }
        const { ok: connected = 0, ...others } = await knocked;
        deepEqual(others, {});
        ok(connected > 1_000, String(connected));
      } finally {
        talker.close();
      }
    });

    it('lead a caller over UDP that goes on calling to the new backend', async () => {
      const call = (): Promise<string | undefined> =>
        // From one and the same port, as a syslog or a game client does.
        run(lab.client, [
          process.execPath,
          '-e',
          `const socket = require('node:dgram').createSocket('udp4');
        socket.bind(7777, () => socket.send('x', 5301, '${NODE}'));
        socket.on('message', (reply) => { console.log(String(reply)); socket.close(); });
        setTimeout(() => process.exit(1), 2000).unref();`,
        ]);
      await lab.call('setPorts', [udp(5301, ['10.128.1.2', 53])]);
      equal(await call(), 'a 192.168.77.2');
      await lab.call('setPorts', [udp(5301, ['10.128.1.3', 53])]);
      equal(await call(), 'b 192.168.77.2');
    });

    it('are held against other processes, and let go', async () => {
      await lab.call('setPorts', [tcp(8086, ['10.128.1.2', 80]), udp(8086, ['10.128.1.2', 53])]);
      for (const kind of ['tcp-listen', 'udp'] as const) {
        const taken = await bindSocket(lab.node, kind, '0.0.0.0', 8086).catch(
          (error: NodeJS.ErrnoException) => error.code,
        );
        equal(taken, 'EADDRINUSE');
      }
      await lab.call('setPorts', []);
      for (const kind of ['tcp-listen', 'udp'] as const)
        closeSync((await bindSocket(lab.node, kind, '0.0.0.0', 8086)).fd);
    });

    it('answer on while the daemon is dead, and are taken up by the next', async () => {
      const forwards = [tcp(8090, ['10.128.1.2', 80]), tcp(8091, ['10.128.1.2', 80], ['10.128.1.3', 80])];
      await lab.call('setPorts', forwards);
      await lab.restart();
      equal(await answerOf(lab.client, 'tcp', NODE, 8090), 'a');
      await lab.call('ensureBridge', FRONT);
      equal(await answerOf(lab.client, 'tcp', NODE, 8090), 'a');
      ok(await answerOf(lab.client, 'tcp', NODE, 8091));
      deepEqual(await lab.call('setPorts', forwards.slice(0, 1)), []);
      equal(await answerOf(lab.client, 'tcp', NODE, 8090), 'a');
      equal(await answerOf(lab.client, 'tcp', NODE, 8091), undefined);
      equal(await answerOf(a, 'tcp', '10.128.2.4', 80), undefined, 'other networks stay out of reach');
      deepEqual(await lab.call('listBridges'), [FRONT.id, BACK.id, INNER.id]);
    });

    /** Asks for something that is done when the rules are as they should be, or soon. */
    const settledRules = async (isRight: (rules: string) => boolean): Promise<string> => {
      let rules = '';
      for (let look = 0; look < 200; look++) {
        rules = show(lab.node, 'nft', 'list', 'ruleset');
        if (isRight(rules)) break;
        await lab.call('log');
      }
      return rules;
    };

    it('are made again by themselves when somebody has flushed all rules, or one of them', async () => {
      await lab.call('setPorts', [tcp(8092, ['10.128.1.2', 80])]);
      show(lab.node, 'nft', 'flush', 'ruleset');
      match(await settledRules((rules) => rules.includes('8092 :')), /8092 : goto any_1/);
      equal(await answerOf(lab.client, 'tcp', NODE, 8092), 'a');
      equal(await answerOf(a, 'tcp', '10.128.2.4', 80), undefined, 'networks are apart again');
      for (const change of [
        'flush chain ip tsswarm_test forward',
        'add element ip tsswarm_test any_ports { tcp . 99 : goto any_1 }',
      ]) {
        show(lab.node, 'nft', change);
        const rules = await settledRules(
          (text) => text.includes('oifname @bridges drop') && !text.includes('tcp . 99 '),
        );
        match(rules, /oifname @bridges drop/);
        doesNotMatch(rules, /tcp \. 99 /);
      }
      match((await lab.call('log')).join('\n'), /somebody has changed the rules/);
    });

    it('stay as they are when somebody changes rules of his own', async () => {
      // A rule that is made again has another handle.
      const handles = (): string => show(lab.node, 'nft', '-a', 'list', 'chain', 'ip', 'tsswarm_test', 'forward');
      await lab.call('ensureBridge', FRONT);
      const before = handles();
      show(lab.node, 'nft', 'add table ip theirs; add chain ip theirs one; add rule ip theirs one counter');
      equal(await answerOf(lab.client, 'tcp', NODE, 8092), 'a');
      show(lab.node, 'nft', 'delete table ip theirs');
      equal(await answerOf(lab.client, 'tcp', NODE, 8092), 'a');
      equal(handles(), before);
    });

    it('leave the rules of others alone', async () => {
      show(lab.node, 'nft', 'add table ip filter; add chain ip filter FORWARD; add rule ip filter FORWARD counter');
      const theirs = show(lab.node, 'nft', 'list', 'table', 'ip', 'filter');
      match(theirs, /counter/);
      await lab.call('setPorts', [tcp(8093, ['10.128.1.2', 80])]);
      await lab.call('setPorts', []);
      equal(show(lab.node, 'nft', 'list', 'table', 'ip', 'filter'), theirs);
      show(lab.node, 'nft', 'delete', 'table', 'ip', 'filter');
    });

    it('warn of a firewall that stands in the way, once', async () => {
      show(
        lab.node,
        'nft',
        'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }',
      );
      const said = async (): Promise<readonly string[]> =>
        (await lab.call('log')).filter((line) => line.includes('a firewall of this node'));
      await lab.call('ensureBridge', FRONT);
      // Nobody's start waits for a warning.
      await eventually(async () => (await said()).length > 0);
      for (let i = 0; i < 3; i++) await lab.call('ensureBridge', FRONT);
      const warnings = await said();
      equal(warnings.length, 1);
      match(warnings[0] ?? '', /"chains":"filter FORWARD"/);
      show(lab.node, 'nft', 'delete', 'table', 'ip', 'filter');
    });

    it('leave nothing when everything is removed', async () => {
      await lab.call('setPorts', [tcp(8094, ['10.128.1.2', 80])]);
      await lab.restart();
      for (const id of await lab.call('listSandboxes')) await lab.call('removeSandbox', id);
      for (const id of await lab.call('listBridges')) await lab.call('removeBridge', id);
      await lab.call('setPorts', []);
      deepEqual(await lab.call('listSandboxes'), []);
      equal(show(lab.node, 'nft', 'list', 'ruleset'), '');
      equal(show(lab.node, 'ip', '-br', 'link', 'show', 'type', 'bridge'), '');
    });
  });
});

import { deepEqual, equal } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { seededRandom } from '../../../base/random.ts';
import { BACK, FRONT, containerId, on, tcp } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { answerOf, openLab, show } from './lab.ts';

const ROUNDS = 12;

describe('networking whose daemon is killed at any moment', () => {
  let lab: Lab;
  before(async () => {
    lab = await openLab();
  });
  after(() => lab.close());

  it('is made whole by asking again, and leaves nothing', async () => {
    const random = seededRandom(7);
    const digits = ['1', '2', '3', '4', '5'];
    const wanted = async (): Promise<readonly string[]> => {
      await Promise.all([FRONT, BACK].map((bridge) => lab.call('ensureBridge', bridge)));
      const paths = digits.map((digit, index) =>
        lab.call('createSandbox', containerId(digit), {
          mode: 'networks',
          interfaces: [on(FRONT, 10 + index), on(BACK, 10 + index)],
        }),
      );
      await lab.call('setPorts', [tcp(8080, ['10.128.1.10', 80]), tcp(8081, ['10.128.1.10', 80], ['10.128.1.11', 80])]);
      return Promise.all(paths);
    };
    const removed = async (): Promise<void> => {
      for (const id of await lab.call('listSandboxes')) await lab.call('removeSandbox', id);
      for (const id of await lab.call('listBridges')) await lab.call('removeBridge', id);
      await lab.call('setPorts', []);
    };
    for (let round = 0; round < ROUNDS; round++) {
      // It has begun, and answers.
      await lab.call('listSandboxes');
      const work = (round % 2 ? removed() : wanted()).catch(() => undefined);
      // A moment of the work, not a wait for something: each round kills at another one.
      await new Promise((resolve) => setTimeout(resolve, random.next() * 40));
      await lab.restart();
      await work;
    }
    const [first = '', second = ''] = await wanted();
    await lab.serve(first, 'tcp', 80, 'first');
    await lab.serve(second, 'tcp', 80, 'second');
    equal(await answerOf(second, 'tcp', '10.128.2.10', 80), 'first');
    equal(await answerOf(lab.client, 'tcp', '192.168.77.1', 8080), 'first');
    const calls = Array.from({ length: 20 }, () => answerOf(lab.client, 'tcp', '192.168.77.1', 8081));
    const answers = [...new Set(await Promise.all(calls))];
    deepEqual(answers.sort(), ['first', 'second']);

    await removed();
    deepEqual(await lab.call('listSandboxes'), []);
    equal(show(lab.node, 'nft', 'list', 'ruleset'), '');
    equal(show(lab.node, 'ip', '-br', 'link', 'show', 'type', 'bridge'), '');
    equal(readFileSync('/proc/self/mounts', 'utf8').includes(lab.directory), false);
  });
});

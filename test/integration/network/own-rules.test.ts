import { equal } from 'node:assert/strict';
import type { PortForward } from '../../../node-engine/types.ts';
import { eventually } from '../launcher/fixture.ts';
import { BACK, FRONT, INNER, tcp } from './fixtures.ts';
import type { Lab } from './lab.ts';
import { openLab, show } from './lab.ts';

describe('what a node changes of its own rules', () => {
  let lab: Lab;
  beforeEach(async () => {
    lab = await openLab();
  });
  afterEach(() => lab.close());

  /** Handles of fixed rules: one that is made again has another. */
  const handles = (): string => show(lab.node, 'nft', '-a', 'list', 'chain', 'ip', 'tsswarm_test', 'forward');
  const repairs = async (): Promise<readonly string[]> =>
    (await lab.call('log')).filter((line) => line.includes('somebody has changed the rules'));

  const ports: readonly (readonly [string, readonly PortForward[]])[] = [
    ['without published ports', []],
    ['with a published port that leads nowhere', [tcp(8080)]],
    ['with one that our relay leads on', [{ ...tcp(8080, ['10.128.1.2', 80]), hostIp: '::' }]],
    ['with a published port', [tcp(8080, ['10.128.1.2', 80])]],
  ];
  for (const [title, forwards] of ports)
    it(`is never taken for somebody else’s, ${title}, nor by the next daemon`, async () => {
      await changesAlone(forwards);
      await lab.restart();
      await changesAlone(forwards);
    });

  async function changesAlone(forwards: readonly PortForward[]): Promise<void> {
    await lab.call('ensureBridge', FRONT);
    await lab.call('setPorts', forwards);
    // What an earlier process has left is made whole once.
    await lab.call('ensureBridge', BACK);
    const before = handles();
    for (let round = 0; round < 2; round++) {
      await lab.call('ensureBridge', INNER);
      await lab.call('setPorts', [...forwards, tcp(8081, ['10.128.1.3', 80], ['10.128.1.4', 80])]);
      await lab.call('removeBridge', INNER.id);
      await lab.call('setPorts', forwards);
      await lab.call('removeBridge', BACK.id);
      await lab.call('ensureBridge', BACK);
    }
    // A change of somebody else's comes after all of these, and is heard of after them.
    equal(handles(), before);
    show(lab.node, 'nft', 'flush chain ip tsswarm_test forward');
    await eventually(async () => handles() !== before && (await repairs()).length > 0);
    equal((await repairs()).length, 1);
  }
});

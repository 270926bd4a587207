import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import type { RotationStatus } from '../overlay/tunnels/secure.ts';
import { judgeKeys } from './keys.ts';

const HOUR = 3_600_000;
const key = (text: string) => Buffer.from(text.padEnd(32, '\0')).toString('base64');
const OLD = { slot: 'main', publicKey: key('old'), madeAt: 0 } as const;
const NEXT = { slot: 'alternate', publicKey: key('next'), madeAt: HOUR } as const;
const PEER = 'n2' as NodeId;
const judged = (change: Partial<RotationStatus>) =>
  judgeKeys({ keys: [OLD], step: { kind: 'rest' }, stepMs: 0, dueAt: 24 * HOUR, failure: '', ...change }, HOUR, 4789);

describe('the doctor looks at the key of encrypted networks', () => {
  it('and says how old it is', () => {
    const [check] = judged({});
    assert.equal(check?.status, 'ok');
    assert.match(check.message, /^the key 6f6c64000000 .* is 1h old, and will be replaced in 23h$/);
  });

  it('and says nothing where there is none in use', () => {
    const { step: _, ...none } = { keys: [OLD], step: undefined, stepMs: 0, failure: '' };
    assert.deepEqual(judgeKeys(none, HOUR, 4789), []);
  });

  it('and names the nodes that a rotation waits for, and the ports', () => {
    const waiting = { keys: [OLD, NEXT], step: { kind: 'prove', nodes: [PEER] } } as const;
    assert.equal(judged({ ...waiting, stepMs: 29_000 })[0]?.status, 'ok');
    const [check] = judged({ ...waiting, stepMs: 30_000 });
    assert.deepEqual([check?.status, check?.subject], ['broken', PEER]);
    assert.match(check?.message ?? '', /waits for this node/);
    assert.match(check?.hint ?? '', /4790\/udp and 4792\/udp/);
  });

  it('and says why it does not begin, or could not', () => {
    const [held] = judged({ step: { kind: 'hold', why: 'old-nodes', nodes: [PEER] } });
    assert.match(held?.message ?? '', /cannot be rotated: n2 is of a version/);
    const [failed] = judged({ failure: 'address already in use' });
    assert.match(failed?.message ?? '', /could not be made: address already in use/);
    const [untold] = judged({ keys: [OLD, NEXT], step: { kind: 'tell' }, stepMs: 60_000 });
    assert.match(untold?.message ?? '', /managers have not told/);
  });
});

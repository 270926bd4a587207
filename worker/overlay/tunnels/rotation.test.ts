import assert from 'node:assert/strict';
import type { NodeId } from '../../../base/ids.ts';
import type { SecureKey } from '../../../node-engine/types.ts';
import type { RotationView } from './rotation.ts';
import { dueAt, nextStep } from './rotation.ts';

const HOUR = 3_600_000;
const key = (text: string, slot: SecureKey['slot'], madeAt: number): SecureKey => ({
  slot,
  publicKey: Buffer.from(text.padEnd(32, '\0')).toString('base64'),
  madeAt,
});
const OLD = key('old', 'main', 0);
const NEXT = key('next', 'alternate', HOUR);
const PEER = 'n2' as NodeId;
const ALONE: RotationView = {
  keys: [OLD],
  now: HOUR,
  intervalMs: 24 * HOUR,
  isCommanded: false,
  known: [OLD.publicKey],
  old: [],
  isManagerOld: false,
  hasOneLink: false,
  unsettled: [],
  settledMs: 1000,
  isWithdrawn: false,
  quietMs: 0,
};
const BOTH: RotationView = { ...ALONE, keys: [OLD, NEXT], known: [OLD.publicKey, NEXT.publicKey] };

describe('the rotation of a key', () => {
  const rows: readonly (readonly [string, RotationView, string])[] = [
    ['has time', ALONE, 'rest'],
    ['begins when the key is old', { ...ALONE, now: 24 * HOUR }, 'begin'],
    ['begins when somebody says so', { ...ALONE, isCommanded: true }, 'begin'],
    ['begins never by itself where the interval is 0', { ...ALONE, now: 999 * HOUR, intervalMs: 0 }, 'rest'],
    ['does not begin while another node knows of one key alone', { ...ALONE, isCommanded: true, old: [PEER] }, 'hold'],
    ['does not begin while the managers do', { ...ALONE, isCommanded: true, isManagerOld: true }, 'hold'],
    ['does not begin without an address', { ...ALONE, isCommanded: true, hasOneLink: true }, 'hold'],
    ['returns to the link that an older version knows', { ...ALONE, keys: [NEXT], old: [PEER] }, 'begin'],
    ['tells of the new key', { ...BOTH, known: [OLD.publicKey], unsettled: [PEER] }, 'tell'],
    ['waits for everybody', { ...BOTH, unsettled: [PEER] }, 'prove'],
    ['lets arrive what is under way', { ...BOTH, settledMs: 999 }, 'settle'],
    ['gives the old key up when it works with all', BOTH, 'withdraw'],
    ['waits until that is told', { ...BOTH, isWithdrawn: true }, 'untell'],
    ['does not go back for somebody new', { ...BOTH, isWithdrawn: true, unsettled: [PEER] }, 'untell'],
    ['lets the old link be used', { ...BOTH, isWithdrawn: true, known: [NEXT.publicKey], quietMs: 179_999 }, 'quiet'],
    ['ends when nobody has used it', { ...BOTH, isWithdrawn: true, known: [NEXT.publicKey], quietMs: 180_000 }, 'end'],
  ];
  for (const [title, view, kind] of rows) it(title, () => assert.equal(nextStep(view).kind, kind));

  it('goes from one link to the other and takes the old one away', () => {
    assert.deepEqual(nextStep({ ...ALONE, isCommanded: true }), { kind: 'begin', slot: 'alternate' });
    assert.deepEqual(nextStep({ ...ALONE, keys: [NEXT], isCommanded: true }), { kind: 'begin', slot: 'main' });
    const end = nextStep({ ...BOTH, isWithdrawn: true, known: [NEXT.publicKey], quietMs: 180_000 });
    assert.deepEqual(end, { kind: 'end', slot: 'main' });
  });

  it('names who is waited for', () => {
    assert.deepEqual(nextStep({ ...BOTH, unsettled: [PEER] }), { kind: 'prove', nodes: [PEER] });
  });

  it('comes at other times on other nodes, and at the same for a daemon that starts again', () => {
    const times = Array.from({ length: 64 }, (_, index) =>
      dueAt({ ...OLD, publicKey: Buffer.alloc(32, index * 4).toString('base64') }, 24 * HOUR),
    );
    assert.equal(new Set(times).size, 64);
    assert.ok(times.every((time) => time > 21 * HOUR && time <= 24 * HOUR));
    assert.equal(dueAt({ ...OLD }, 24 * HOUR), dueAt(OLD, 24 * HOUR));
  });
});

/** Whether the key of a node's encrypted networks is rotated as it should be. Pure. */
import { spanWords } from '../../base/clock-skew.ts';
import type { DoctorCheck } from '../../proto/types/index.ts';
import { fingerprint } from '../overlay/tunnels/keys.ts';
import type { RotationStatus } from '../overlay/tunnels/secure.ts';
import { holdWords } from '../overlay/tunnels/secure.ts';
import { broken, ok } from './judge.ts';

/** Others are told within seconds; a step that takes longer waits for something that does not come, ms. */
const PATIENCE_MS = 30_000;
const CHECK = 'keys';

/**
 * @param now wall time, ms
 * @param port UDP port of VXLAN
 */
export function judgeKeys(
  { keys, step, stepMs, dueAt, failure }: RotationStatus,
  now: number,
  port: number,
): readonly DoctorCheck[] {
  const [oldest] = keys;
  const newest = keys.at(-1);
  // Nothing encrypted leads to others.
  if (step === undefined || oldest === undefined || newest === undefined) return [];
  const age = `the key ${fingerprint(oldest.publicKey)} of encrypted networks is ${spanWords(Math.max(0, now - oldest.madeAt))} old`;
  if (failure !== '')
    return [broken(CHECK, '', `${age}, and the next one could not be made: ${failure}`, FREE(port + 3, port + 1))];
  if (step.kind === 'hold')
    return [broken(CHECK, '', `${age} and cannot be rotated: ${holdWords(step)}`, 'bring all nodes to one version')];
  const next = `${age}; it is being replaced by ${fingerprint(newest.publicKey)}`;
  const isLate = stepMs >= PATIENCE_MS;
  if (step.kind === 'prove' && isLate)
    return step.nodes.map((id) =>
      broken(
        CHECK,
        id,
        `${next}, which waits for this node: the two have not agreed on a session with it for ${spanWords(stepMs)}`,
        `open ${port + 1}/udp and ${port + 3}/udp between the nodes, and see that its daemon runs`,
      ),
    );
  if ((step.kind === 'tell' || step.kind === 'untell') && isLate)
    return [
      broken(CHECK, '', `${next}, and the managers have not told so for ${spanWords(stepMs)}`, 'see "tsswarm node ls"'),
    ];
  if (step.kind !== 'rest') return [ok(CHECK, '', next)];
  const due = dueAt === undefined ? '' : `, and will be replaced in ${spanWords(Math.max(0, dueAt - now))}`;
  return [ok(CHECK, '', `${age}${due}`)];
}

const FREE = (one: number, other: number): string =>
  `both ${other}/udp and ${one}/udp are needed: see "ss -ulnp" who has them; then: tsswarm network rotate-keys`;

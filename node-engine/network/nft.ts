/** Runs nft(8): a whole script is one transaction of the kernel, all of it or nothing. */
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { ProgramEnd } from '../native/addon.ts';
import { runProgram } from '../native/addon.ts';

/**
 * Applies a script in the process's own network namespace.
 * @throws NETWORK_FAILED with the first complaint of nft
 */
export async function runNft(script: string): Promise<void> {
  let ended: ProgramEnd;
  try {
    ended = await runProgram('nft', ['-f', '-'], { input: `${script}\n` });
  } catch (cause) {
    const hint = errnoOf(cause) === 'ENOENT' ? { hint: 'install the package "nftables"' } : {};
    throw new TsswarmError('NETWORK_FAILED', `cannot run "nft": ${messageOf(cause)}`, { cause, ...hint });
  }
  if (ended.code === 0) return;
  const [first = ''] = ended.stderr.toString().trim().split('\n');
  const end = ended.signal === 0 ? ended.code : `signal ${ended.signal}`;
  const reason = first.replace(/^\/dev\/stdin:[\d:-]+ /, '') || `it ended with ${end}`;
  throw new TsswarmError('NETWORK_FAILED', `cannot apply the firewall rules: ${reason}`);
}

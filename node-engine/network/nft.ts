/** Runs nft(8): a whole script is one transaction of the kernel, all of it or nothing. */
import { spawn } from 'node:child_process';
import { TsswarmError, errnoOf } from '../../base/errors.ts';

/**
 * Applies a script in the process's own network namespace.
 * @throws NETWORK_FAILED with the first complaint of nft
 */
export async function runNft(script: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    if (complaint.length < 4096) complaint += part;
  });
  // It may end before it has read everything; its exit code tells why.
  child.stdin.on('error', () => {});
  child.stdin.end(`${script}\n`);
  child.on('error', (cause) => {
    const missing = errnoOf(cause) === 'ENOENT';
    const hint = missing ? { hint: 'install the package "nftables"' } : {};
    reject(new TsswarmError('NETWORK_FAILED', `cannot run "nft": ${cause.message}`, { cause, ...hint }));
  });
  child.on('close', (code, signal) => {
    if (code === 0) return resolve();
    const [first = ''] = complaint.trim().split('\n');
    const reason = first.replace(/^\/dev\/stdin:[\d:-]+ /, '') || `it ended with ${signal ?? code}`;
    reject(new TsswarmError('NETWORK_FAILED', `cannot apply the firewall rules: ${reason}`));
  });
  return promise;
}

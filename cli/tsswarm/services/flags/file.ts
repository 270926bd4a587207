import { parseSignal } from '../../../../base/signals.ts';
import type { FileReference } from '../../../../proto/types/index.ts';
import { count, csvPairs, refuseValue } from './values.ts';

/** Folder in the container for targets that are no absolute path. */
const FOLDERS = { secret: '/run/secrets/', config: '/' } as const;

/**
 * `--secret` or `--config`: the name of one of the cluster's, or "source=…,target=…,uid=…,gid=…,mode=0440,signal=SIGHUP".
 * @throws INVALID_INPUT
 */
export function parseFileFlag(kind: 'secret' | 'config', flag: string, text: string): FileReference {
  let name = text;
  let target = '';
  let uid = 0;
  let gid = 0;
  let mode = 0o444;
  let signal: string | undefined;
  if (text.includes('=') || text.includes(',')) {
    name = '';
    for (const [key, value] of csvPairs(flag, text)) {
      if (key === 'source' || key === 'src') name = value;
      else if (key === 'target') target = value;
      else if (key === 'uid') uid = count(flag, value);
      else if (key === 'gid') gid = count(flag, value);
      else if (key === 'mode') {
        if (!/^0?[0-7]{3,4}$/.test(value)) refuseValue(flag, text, `"${value}" is no mode such as 0440`);
        mode = Number.parseInt(value, 8);
      } else if (key === 'signal') {
        parseSignal(value);
        signal = value;
      } else refuseValue(flag, text, `the key "${key}" is not known: source, target, uid, gid, mode and signal are`);
    }
  }
  if (name === '') refuseValue(flag, text, 'it has no source');
  const path = target === '' ? name : target;
  return {
    name,
    target: path.startsWith('/') ? path : FOLDERS[kind] + path,
    uid,
    gid,
    mode,
    ...(signal === undefined ? {} : { signal }),
  };
}

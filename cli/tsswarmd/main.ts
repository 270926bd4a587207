import { isTsswarmError, messageOf } from '../../base/errors.ts';
import { EXIT_IN_USE } from '../local-node/program.ts';
import { exitNow } from '../../node-engine/native/addon.ts';
import { USAGE, readFlags } from './flags.ts';
import { runDaemon } from './process.ts';

try {
  const flags = readFlags(process.argv.slice(2));
  if (flags === undefined) process.stdout.write(USAGE);
  else {
    await runDaemon(flags);
    exitNow(0);
  }
} catch (error) {
  process.stderr.write(`error: ${messageOf(error)}\n`);
  if (isTsswarmError(error) && error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
  if (!isTsswarmError(error)) process.stderr.write(`${error instanceof Error ? error.stack : ''}\n`);
  process.exit(isTsswarmError(error, 'IN_USE') ? EXIT_IN_USE : 1);
}

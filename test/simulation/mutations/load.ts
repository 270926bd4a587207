/** Preloaded (`--import`) into a process that shall run with a planted bug: TSSWARM_MUTATION names it. */
import { readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MUTATIONS } from './list.ts';

const name = process.env['TSSWARM_MUTATION'];
const mutation = MUTATIONS.find((known) => known.name === name);
if (mutation === undefined) throw new Error(`no mutation "${name}"`);
const path = join(import.meta.dirname, '..', '..', '..', 'manager', 'raft', mutation.file);
const source = readFileSync(path, 'utf8');
if (source.split(mutation.find).length !== 2) throw new Error(`"${mutation.find}" does not occur once in ${path}`);

registerHooks({
  load(url, context, next) {
    if (!url.startsWith('file:') || fileURLToPath(url) !== path) return next(url, context);
    const mutated = stripTypeScriptTypes(source.replace(mutation.find, () => mutation.replace));
    return { format: 'module', source: mutated, shortCircuit: true };
  },
});

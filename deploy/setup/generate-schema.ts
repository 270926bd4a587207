/**
 * Generates `compose/schema/gen/accepts.js` from the schema: the validator as plain code, so that a command need not compile
 * it at every start. It only says yes or no; what is wrong is found by the whole validator, which is loaded when it is needed.
 * The result is committed; `npm run check` generates it again and fails on a difference.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import standaloneCode from 'ajv/dist/standalone/index.js';
import { COMPOSE_SCHEMA } from '../../compose/schema/schema.ts';

const file = join(import.meta.dirname, '..', '..', 'compose', 'schema', 'gen', 'accepts.js');
const ajv = new Ajv({
  strict: false,
  messages: false,
  validateSchema: false,
  meta: false,
  code: { source: true, esm: true, lines: false, optimize: 2 },
});
const code = `// Generated from compose/schema/schema.ts by deploy/setup/generate-schema.ts; never edited.
${standaloneCode.default(ajv, { accepts: ajv.addSchema(COMPOSE_SCHEMA, 'compose') && 'compose' })}
`;
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') === code) process.exit(0);
  throw new Error('compose/schema/gen is not what the schema says: run npm run gen:schema and commit the result');
}
writeFileSync(file, code);

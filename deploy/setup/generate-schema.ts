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
/**
 * The schema with every object and every alternative as a definition of its own, equal ones once: each becomes a small function,
 * which the engine compiles only when a file has such a part.
 */
function withDefinitions(schema: object): object {
  const names = new Map<string, string>();
  const definitions: Record<string, unknown> = {};
  const hoist = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(hoist);
    if (typeof value !== 'object' || value === null) return value;
    const inner = Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hoist(item)]));
    const isSchema = typeof inner['type'] === 'string' || Array.isArray(inner['anyOf']);
    if (!isSchema || !('properties' in inner || 'anyOf' in inner || 'patternProperties' in inner)) return inner;
    const text = JSON.stringify(inner);
    let name = names.get(text);
    if (name === undefined) {
      name = `part${names.size}`;
      names.set(text, name);
      definitions[name] = inner;
    }
    return { $ref: `#/$defs/${name}` };
  };
  return { ...(hoist(schema) as object), $defs: definitions };
}

const ajv = new Ajv({
  inlineRefs: false,
  strict: false,
  messages: false,
  validateSchema: false,
  meta: false,
  code: { source: true, esm: true, lines: false, optimize: 2 },
});
const code = `// Generated from compose/schema/schema.ts by deploy/setup/generate-schema.ts; never edited.
${standaloneCode.default(ajv, { accepts: ajv.addSchema(withDefinitions(COMPOSE_SCHEMA), 'compose') && 'compose' })}
`;
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') === code) process.exit(0);
  throw new Error('compose/schema/gen is not what the schema says: run npm run gen:schema and commit the result');
}
writeFileSync(file, code);

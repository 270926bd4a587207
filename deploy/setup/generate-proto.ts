/**
 * Generates `proto/gen/` from the .proto files: static encoders and decoders (protobufjs), and the names of the messages
 * for the compiler. The result is committed; `npm run check` generates it again and fails on a difference.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
const files = ['objects', 'dispatcher', 'control', 'engine', 'ca', 'raft', 'relay'].map(
  (name) => `proto/${name}.proto`,
);
const generated = join(root, 'proto', 'gen', 'messages.js');
const types = join(root, 'proto', 'gen', 'messages.d.ts');
const shape = join(root, 'proto', 'gen', 'shape.ts');
const check = process.argv.includes('--check');
const before = check ? [generated, types, shape].map((file) => readFileSync(file, 'utf8')) : [];

const flags =
  '--es6 --no-create --no-verify --no-delimited --no-service --no-typeurl --no-comments --no-beautify'.split(' ');
execFileSync(
  join(root, 'node_modules', '.bin', 'pbjs'),
  ['-t', 'static-module', '-w', 'es6', ...flags, '-p', 'proto', '-o', generated, ...files],
  { cwd: root, stdio: 'inherit' },
);

const names = files.flatMap((file) =>
  [...readFileSync(join(root, file), 'utf8').matchAll(/^message (\w+)/gm)].map((match) => match[1]),
);
writeFileSync(
  types,
  `// Generated from the .proto files by deploy/setup/generate-proto.ts; never edited.
import type { Reader, Writer } from 'protobufjs/minimal.js';

/** The part of a generated message class that the codec uses. */
export interface GeneratedMessage {
  encode(message: object, writer?: Writer): Writer;
  decode(reader: Reader | Uint8Array, length?: number): object;
  fromObject(object: object): object;
  toObject(message: object, options?: object): object;
}

export type MessageName =
${names.map((name) => `  | '${name}'`).join('\n')};

export const tsswarm: { readonly v1: Readonly<Record<MessageName, GeneratedMessage>> };
`,
);

const digest = createHash('sha256').update(files.map((file) => readFileSync(join(root, file), 'utf8')).join('\0'));
writeFileSync(
  shape,
  `// Generated from the .proto files by deploy/setup/generate-proto.ts; never edited.
/** Names the messages of this version: two programs with the same shape may exchange values as they are. */
export const SHAPE = '${digest.digest('hex').slice(0, 12)}';
`,
);

if (check && [generated, types, shape].some((file, i) => readFileSync(file, 'utf8') !== before[i])) {
  throw new Error('proto/gen is not what the .proto files say: run npm run gen:proto and commit the result');
}

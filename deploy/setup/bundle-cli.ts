/**
 * Makes one file of each program's compiled sources and the packages that it uses (esbuild). A command that lives for some tens of
 * milliseconds must not spend them on finding and opening hundreds of modules; the daemon holds each module's text and what Node
 * knows of it in memory as long as it lives.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';
import type { Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..', '..');

/** Built-in modules that cost a millisecond or more to load, and that most commands never use. */
const LATE = ['child_process', 'crypto', 'fs/promises', 'readline', 'readline/promises', 'http', 'https', 'tls'];

/** Loads those when something of theirs is first used: each name becomes a getter. */
const lateBuiltins: Plugin = {
  name: 'late-builtins',
  setup(context) {
    context.onResolve({ filter: new RegExp(`^(node:)?(${LATE.join('|')})$`) }, ({ path }) => ({
      path: path.replace(/^node:/, ''),
      namespace: 'late',
    }));
    context.onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => {
      const module = process.getBuiltinModule(path) as object | undefined;
      if (module === undefined) throw new Error(`bundling: Node has no module "${path}"`);
      const contents = `const load = () => process.getBuiltinModule(${JSON.stringify(path)});
for (const name of ${JSON.stringify(Object.keys(module))})
  Object.defineProperty(exports, name, { enumerable: true, get: () => load()[name] });`;
      return { contents, loader: 'js' };
    });
  },
};

/** Large modules that a command needs only when something is wrong (an older daemon, a fault in a file): files of their own. */
const RARE: Readonly<Record<string, { readonly specifier: RegExp; readonly source: string }>> = {
  grpc: { specifier: /^@grpc\/grpc-js$/, source: '@grpc/grpc-js' },
  ajv: { specifier: /^ajv$/, source: 'ajv' },
  messages: { specifier: /\/gen\/messages\.js$/, source: './dist/proto/gen/messages.js' },
};

/** Leaves those out of a command: they are read when they are first used. */
const rareModules: Plugin = {
  name: 'rare-modules',
  setup(context) {
    for (const [name, { specifier }] of Object.entries(RARE))
      context.onResolve({ filter: specifier }, ({ kind }) =>
        kind === 'entry-point' ? undefined : { path: `./${name}.cjs`, external: true },
      );
  },
};

const shared = {
  absWorkingDir: root,
  outdir: 'dist/bundle',
  // CommonJS is loaded in one turn; modules take several, and as many milliseconds.
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  define: { 'import.meta.dirname': '__dirname', 'import.meta.filename': '__filename' },
  bundle: true,
  platform: 'node',
  target: 'node24',
  minify: true,
  logLevel: 'warning',
} as const;

/** What Node puts around a CommonJS module. */
const FUNCTION = '(function (exports, require, module, __filename, __dirname) {';
await mkdir(join(root, shared.outdir), { recursive: true });
for (const name of ['tscompose', 'tsswarm']) {
  const entry = { entryPoints: [{ in: `dist/cli/${name}/main.js`, out: name }], plugins: [lateBuiltins, rareModules] };
  const { outputFiles } = await build({ ...shared, ...entry, write: false });
  const [{ text, contents }] = outputFiles as [(typeof outputFiles)[number]];
  const foreign = /[^\0-\x7f]/.exec(text);
  // It is read as it is: as UTF-8 it would take twice the memory, and longer.
  if (foreign !== null)
    throw new Error(`bundling ${name}: "${foreign[0]}" is not ASCII: write it as an escape sequence`);
  const bundle = `${name}-${createHash('sha256').update(contents).digest('hex').slice(0, 16)}.cjs`;
  await writeFile(join(root, shared.outdir, bundle), `${FUNCTION}${text}\n})`);
  await build({
    ...shared,
    entryPoints: [{ in: 'dist/cli/bundled/start.js', out: name }],
    define: {
      ...shared.define,
      PROGRAM: JSON.stringify(name),
      BUNDLE: JSON.stringify(bundle),
      WRAPPED: String(FUNCTION.length),
    },
  });
}
await build({
  ...shared,
  entryPoints: Object.entries(RARE).map(([name, { source }]) => ({ in: source, out: name })),
});

/** Folder of the daemon: what is loaded only where it is used (the client of etcd) and its threads are files of their own. */
const DAEMON = 'dist/tsswarmd';

/** Files that look for others beside themselves find them where they were before. */
const places: Plugin = {
  name: 'places',
  setup(context) {
    context.onLoad({ filter: /\/dist\/.*\.js$/ }, async ({ path }) => {
      const text = await readFile(path, 'utf8');
      if (!/import\.meta\.(dirname|filename)/.test(text)) return undefined;
      const place = (to: string): string =>
        `new URL(${JSON.stringify(relative(join(root, DAEMON), to))}, import.meta.url).pathname`;
      const contents = text
        .replaceAll('import.meta.dirname', place(dirname(path)))
        .replaceAll('import.meta.filename', place(path));
      return { contents, loader: 'js' };
    });
  },
};

await build({
  absWorkingDir: root,
  outdir: DAEMON,
  entryPoints: {
    main: 'dist/cli/tsswarmd/main.js',
    'worker-thread': 'dist/node-engine/snapshot/worker-thread.js',
  },
  format: 'esm',
  splitting: true,
  bundle: true,
  // They look for files of theirs beside themselves.
  external: ['lmdb', 'etcd3'],
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
  },
  platform: 'node',
  target: 'node24',
  // Names stay: the trace of a fault tells where it was.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [places],
});

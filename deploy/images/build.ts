/**
 * Makes real OCI image archives from Debian packages, for machines that reach no registry and for the tests.
 *
 * Usage: node deploy/images/build.ts [--output DIR] [NAME…]   (NAME: see recipes.ts; none: all)
 * Needs root (file owners), apt and dpkg. Archives that are up to date are not made again.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packLayer, readJson, writeArchive } from './archive.ts';
import type { Layer } from './archive.ts';
import { downloadClosure } from './debian-packages.ts';
import { BASE_PACKAGES, RECIPES } from './recipes.ts';
import { addRecipeFiles, finishBase, unpack } from './rootfs.ts';

const project = join(import.meta.dirname, '..', '..');
const { values, positionals } = parseArgs({
  options: { output: { type: 'string', default: join(project, '.cache', 'images') } },
  allowPositionals: true,
});
const output = values.output;
const names = positionals.length > 0 ? positionals : Object.keys(RECIPES);
const unknown = names.filter((name) => RECIPES[name] === undefined);
if (unknown.length > 0) {
  console.error(`error: no recipe for ${unknown.join(', ')}: known are ${Object.keys(RECIPES).join(', ')}`);
  process.exit(1);
}
if (process.getuid?.() !== 0) {
  console.error('error: images are made as root, because their files belong to root and to service users');
  process.exit(1);
}

/** Raised when the way images are made changes: those of the way before are made again. */
const RECIPE_VERSION = 3;
const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
const packageDir = join(output, 'packages');
const nodeBinary = realpathSync(process.execPath);
mkdirSync(packageDir, { recursive: true });
const work = mkdtempSync(join(output, 'work-'));
try {
  let base: { readonly layer: Layer; readonly root: string; readonly packages: ReadonlySet<string> } | undefined;
  for (const name of names) {
    const recipe = RECIPES[name];
    if (recipe === undefined) continue;
    const archive = join(output, `${name}.tar`);
    const stamp = createHash('sha256')
      .update(
        JSON.stringify([
          RECIPE_VERSION,
          recipe,
          BASE_PACKAGES,
          architecture,
          recipe.nodeRuntime === true ? process.version : '',
        ]),
      )
      .digest('hex');
    if (existsSync(archive) && readJson(`${archive}.stamp`) === stamp) {
      console.error(`image ${name}: up to date`);
      continue;
    }
    const started = performance.now();
    if (recipe.base) base ??= await makeBase();
    const root = join(work, name);
    mkdirSync(root);
    const closure = downloadClosure(recipe.packages, packageDir, recipe.without);
    // A package set that stands alone (busybox) is taken without its dependencies: it is static.
    const wanted = recipe.base
      ? closure.filter((file) => base?.packages.has(file.name) !== true)
      : closure.filter((file) => recipe.packages.includes(file.name));
    unpack(wanted, root);
    addRecipeFiles(recipe, root, base?.root, nodeBinary);
    const layer = await packLayer(root, work, name);
    writeArchive(
      archive,
      work,
      recipe.names,
      base !== undefined && recipe.base ? [base.layer, layer] : [layer],
      recipe.config,
      architecture,
    );
    writeFileSync(`${archive}.stamp`, JSON.stringify(stamp));
    rmSync(root, { recursive: true });
    console.error(`image ${name}: ${recipe.names.join(', ')} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  }
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  console.error('hint: the machine must reach its Debian mirror; apt-get update may be needed');
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function makeBase() {
  const root = join(work, 'base');
  mkdirSync(root);
  const files = downloadClosure(BASE_PACKAGES, packageDir);
  unpack(files, root);
  finishBase(root);
  return { layer: await packLayer(root, work, 'base'), root, packages: new Set(files.map((file) => file.name)) };
}

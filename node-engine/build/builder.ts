import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { ImageStore, Lease } from '../image/index.ts';
import { decompress, diffToTar } from '../snapshot/index.ts';
import { createReadStream, existsSync, statSync } from 'node:fs';
import type { BuildRequest, Builder, Containers, ImageInfo, ImageProgress } from '../types.ts';
import type { BuildCache } from './cache.ts';
import { cacheKey } from './cache.ts';
import { copyLayer } from './copy.ts';
import type { Ignore } from './ignore.ts';
import { parseIgnore } from './ignore.ts';
import type { Instruction } from './parse.ts';
import { parseDockerfile } from './parse.ts';
import { relocate } from './relocate.ts';
import { runStep } from './run-step.ts';
import type { Source } from './sources.ts';
import { findSources, hashSources } from './sources.ts';
import { lookUpOwner, viewStack } from './stack-view.ts';
import type { Stage } from './stages.ts';
import { planStages } from './stages.ts';
import type { ImageConfigDraft, StageState } from './state.ts';
import { applyMetadata, inImage, variablesOf } from './state.ts';
import { expand, splitWords, unquote } from './words.ts';

export interface BuilderParts {
  readonly images: ImageStore;
  readonly containers: Pick<Containers, 'create' | 'start' | 'wait' | 'logs' | 'remove'>;
  /** The writable layer of a stopped container. */
  readonly upperOf: (id: ContainerId, imageId: string) => string;
  readonly cache: BuildCache;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly architecture: string;
}

/** Lines of output that an error of a step repeats. */
const ERROR_LINES = 20;

/** The builder of images from Dockerfiles. Steps whose instruction and inputs are unchanged come from the cache. */
export function createBuilder(parts: BuilderParts): Builder {
  parts.images.addLayerRoots(() => parts.cache.roots());
  return {
    async build(request, onProgress, signal) {
      const lease = parts.images.lease();
      try {
        return await new Build(parts, request, onProgress, signal, lease).run();
      } finally {
        lease.release();
      }
    },
  };
}

class Build {
  readonly #parts: BuilderParts;
  readonly #request: BuildRequest;
  readonly #progress: (progress: ImageProgress) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #lease: Lease;
  #ignore: Ignore = () => false;
  #step = 0;
  #steps = 0;

  constructor(
    parts: BuilderParts,
    request: BuildRequest,
    progress: (progress: ImageProgress) => void,
    signal: AbortSignal | undefined,
    lease: Lease,
  ) {
    this.#parts = parts;
    this.#request = request;
    this.#progress = progress;
    this.#signal = signal;
    this.#lease = lease;
  }

  async run(): Promise<ImageInfo> {
    const { context, dockerfile, dockerfileInline, args, target, names, labels } = this.#request;
    if (!existsSync(context) || !statSync(context).isDirectory()) {
      throw new TsswarmError('INVALID_INPUT', `building "${context}": the context is not a directory`);
    }
    const file = join(context, dockerfile || 'Dockerfile');
    const text = dockerfileInline === '' ? await readText(file) : dockerfileInline;
    if (text === undefined)
      throw new TsswarmError(
        'INVALID_INPUT',
        `building "${context}": there is no file "${dockerfile || 'Dockerfile'}"`,
      );
    this.#ignore = parseIgnore(
      (await readText(`${file}.dockerignore`)) ?? (await readText(join(context, '.dockerignore'))) ?? '',
    );
    const shown = dockerfileInline === '' ? file : 'dockerfile_inline';
    const { stages, globals } = planStages(parseDockerfile(text, shown), args, target, shown);
    this.#steps = stages.reduce((sum, { instructions }) => sum + 1 + instructions.length, 0);
    const built = new Map<string, StageState>();
    let state: StageState | undefined;
    for (const [index, stage] of stages.entries()) {
      state = await this.#begin(stage, built);
      for (const instruction of stage.instructions) {
        this.#signal?.throwIfAborted();
        this.#say(`${instruction.name} ${instruction.rest}`, 'step');
        state = await this.#apply(state, withGlobals(instruction, globals), built);
      }
      built.set(stage.name === '' ? String(index) : stage.name, state);
    }
    if (state === undefined)
      throw new TsswarmError('INVALID_INPUT', `building "${context}": the Dockerfile has no stage`);
    const final = { ...state, config: { ...state.config, Labels: { ...state.config.Labels, ...labels } } };
    const image = await this.#parts.images.addImage({ config: this.#document(final), diffIds: final.diffIds, names });
    this.#progress({ id: '', status: 'done', current: 0, total: 0, text: `built ${names[0] ?? image.id}` });
    return image;
  }

  #say(text: string, status: 'step' | 'output'): void {
    if (status === 'step') this.#step++;
    this.#progress({ id: `[${this.#step}/${this.#steps}]`, status, current: this.#step, total: this.#steps, text });
  }

  async #begin(stage: Stage, built: ReadonlyMap<string, StageState>): Promise<StageState> {
    this.#say(`FROM ${stage.from.rest}`, 'step');
    const earlier = built.get(stage.base.toLowerCase());
    const fresh = { args: new Map<string, string>(), shell: ['/bin/sh', '-c'], commandSet: false };
    if (earlier !== undefined) return { ...earlier, ...fresh };
    if (stage.base === 'scratch') return { ...fresh, diffIds: [], config: {}, history: [] };
    const { images } = this.#parts;
    let image = this.#request.pull ? undefined : images.find(stage.base);
    try {
      image ??= await images.pull(stage.base, this.#progress, this.#signal);
    } catch (cause) {
      throw new TsswarmError('IMAGE_NOT_FOUND', `building from "${stage.base}": ${messageOf(cause)}`, {
        where: stage.from.where,
        cause,
      });
    }
    for (const diffId of image.layers) this.#lease.hold(diffId);
    const document = (await images.rawConfig(image.id)) as {
      config?: ImageConfigDraft;
      history?: StageState['history'];
    };
    return {
      ...fresh,
      diffIds: image.layers,
      config: document.config ?? {},
      history: document.history ?? [],
      shell: document.config?.Shell ?? fresh.shell,
    };
  }

  async #apply(
    state: StageState,
    instruction: Instruction,
    built: ReadonlyMap<string, StageState>,
  ): Promise<StageState> {
    const changed = applyMetadata(state, instruction, this.#request.args);
    if (changed !== undefined) return changed;
    switch (instruction.name) {
      case 'WORKDIR':
        return this.#workdir(state, instruction);
      case 'RUN':
        return this.#run(state, instruction);
      default:
        return this.#copy(state, instruction, built);
    }
  }

  /** A step that makes a layer: from the cache, or by `make`. */
  async #layer(
    state: StageState,
    instruction: Instruction,
    inputs: readonly unknown[],
    make: () => Promise<AsyncIterable<Uint8Array>>,
  ): Promise<StageState> {
    const { images, cache } = this.#parts;
    const key = cacheKey(state.diffIds, instruction.name, instruction.rest, [...instruction.flags], inputs);
    const known = this.#request.noCache ? undefined : cache.get(key);
    let diffId: string;
    if (known !== undefined && images.hasLayer(known, state.diffIds)) {
      this.#say('CACHED', 'output');
      diffId = known;
      this.#lease.hold(diffId);
    } else {
      diffId = (await images.addLayer(await make(), state.diffIds, this.#lease)).diffId;
      cache.put(key, diffId);
    }
    return {
      ...state,
      diffIds: [...state.diffIds, diffId],
      history: [...state.history, { created_by: `${instruction.name} ${instruction.rest}` }],
    };
  }

  async #workdir(state: StageState, instruction: Instruction): Promise<StageState> {
    const path = inImage(state, unquote(expand(instruction.rest, variablesOf(state))));
    const next = { ...state, config: { ...state.config, WorkingDir: path } };
    const view = viewStack(this.#parts.images.stackPaths(state.diffIds));
    if (view.isDirectory(path)) return next;
    return this.#layer(next, instruction, [path], () => {
      const directory = {
        relative: '',
        path: '',
        type: 'dir' as const,
        mode: 0o755,
        uid: 0,
        gid: 0,
        size: 0,
        mtimeNs: 0n,
        link: '',
      };
      return Promise.resolve(
        copyLayer({
          sources: [{ name: '', isDirectory: true, files: [directory] }],
          destination: view.resolve(path),
          intoDirectory: false,
          existing: (parent) => view.isDirectory(parent),
          owner: undefined,
          mode: undefined,
        }),
      );
    });
  }

  async #run(state: StageState, instruction: Instruction): Promise<StageState> {
    const { rest, json, where, flags } = instruction;
    for (const flag of flags.keys())
      throw new TsswarmError('NOT_SUPPORTED', `building: RUN --${flag} is not supported yet`, { where });
    const argv = json ?? [...state.shell, rest];
    // Values of ARG are in the step's environment, and therefore part of its key.
    const env = [...state.args].map(([key, value]) => `${key}=${value}`);
    const tail: string[] = [];
    let ran: ContainerId | undefined;
    let baseId: string | undefined;
    try {
      return await this.#layer(state, instruction, [argv, env, state.config], async () => {
        const { images, upperOf } = this.#parts;
        const base = await images.addImage({ config: this.#document(state), diffIds: state.diffIds, names: [] });
        baseId = base.id;
        const step = await runStep(
          this.#parts,
          base.id,
          argv,
          env,
          (line) => {
            this.#say(line, 'output');
            if (tail.push(line) > ERROR_LINES) tail.shift();
          },
          this.#signal,
        );
        ran = step.id;
        if (step.exitCode !== 0) {
          const why = step.oomKilled ? 'it was killed for memory' : `exit code ${step.exitCode}`;
          throw new TsswarmError(
            'BUILD_FAILED',
            `building: "RUN ${rest}" failed: ${why}${tail.length > 0 ? `\n${tail.join('\n')}` : ''}`,
            { where },
          );
        }
        const upper = upperOf(step.id, base.id);
        await removeMountPoints(upper);
        return diffToTar(upper);
      });
    } finally {
      if (ran !== undefined) await this.#parts.containers.remove(ran);
      // The image that the step ran on was made for it alone; one that somebody else uses too stays.
      if (baseId !== undefined) await this.#parts.images.remove(baseId).catch(() => undefined);
    }
  }

  async #copy(
    state: StageState,
    instruction: Instruction,
    built: ReadonlyMap<string, StageState>,
  ): Promise<StageState> {
    const { name, json, rest, flags, where } = instruction;
    const refuse = (what: string): never => {
      throw new TsswarmError('INVALID_INPUT', `building: ${name} ${what}`, { where });
    };
    for (const flag of flags.keys()) {
      if (!['from', 'chown', 'chmod'].includes(flag) || (flag === 'from' && name === 'ADD')) {
        throw new TsswarmError('NOT_SUPPORTED', `building: ${name} --${flag} is not supported yet`, { where });
      }
    }
    const variables = variablesOf(state);
    const words = (json ?? splitWords(expand(rest, variables)).map(unquote)).map((word) =>
      json === undefined ? word : expand(word, variables),
    );
    const destination = words.at(-1) ?? '';
    if (words.length < 2) refuse('needs a source and a destination');
    const from = flags.get('from');
    const layers = from === undefined ? undefined : await this.#stackOf(expand(from, variables), built, where);
    const root = layers === undefined ? this.#request.context : undefined;
    const sources: Source[] = [];
    for (const pattern of words.slice(0, -1)) {
      if (/^https?:\/\//.test(pattern) || pattern.startsWith('git@')) {
        throw new TsswarmError('NOT_SUPPORTED', `building: ADD of the address "${pattern}" is not supported yet`, {
          where,
          hint: 'download it in a RUN step',
        });
      }
      const found = root !== undefined ? findSources(root, pattern, this.#ignore) : fromStack(layers ?? [], pattern);
      if (found.length === 0)
        refuse(`finds no "${pattern}" in ${from === undefined ? 'the build context' : `"${from}"`}`);
      sources.push(...found);
    }
    const view = viewStack(this.#parts.images.stackPaths(state.diffIds));
    const target = view.resolve(inImage(state, destination));
    const intoDirectory =
      destination.endsWith('/') || destination === '.' || sources.length > 1 || view.isDirectory(target);
    if (sources.length > 1 && !destination.endsWith('/') && destination !== '.' && !view.isDirectory(target)) {
      refuse(`copies several things to "${destination}", which must end with a slash then`);
    }
    const chown = flags.get('chown');
    const owner =
      chown === undefined
        ? undefined
        : (lookUpOwner(view, expand(chown, variables)) ??
          refuse(`--chown names "${chown}", whom the image does not know`));
    const chmod = flags.get('chmod');
    if (chmod !== undefined && !/^[0-7]{3,4}$/.test(chmod)) refuse(`--chmod is "${chmod}", expected octal digits`);
    const archives =
      name === 'ADD' ? sources.filter(({ name: path, isDirectory }) => !isDirectory && isArchive(path)) : [];
    if (archives.length > 0 && sources.length > 1) refuse('takes one archive at a time');
    const plan = {
      sources,
      destination: target,
      intoDirectory,
      existing: (path: string) => view.isDirectory(path),
      owner: owner ?? (from === undefined ? { uid: 0, gid: 0 } : undefined),
      mode: chmod === undefined ? undefined : Number.parseInt(chmod, 8),
    };
    return this.#layer(state, instruction, [await hashSources(sources), target, owner, chmod], () =>
      Promise.resolve(archives[0] === undefined ? copyLayer(plan) : extracted(archives[0], target)),
    );
  }

  async #stackOf(
    from: string,
    built: ReadonlyMap<string, StageState>,
    where: Instruction['where'],
  ): Promise<readonly string[]> {
    const { images } = this.#parts;
    const stage = built.get(from.toLowerCase());
    if (stage !== undefined) return images.stackPaths(stage.diffIds);
    try {
      const image = images.find(from) ?? (await images.pull(from, this.#progress, this.#signal));
      return images.layerPaths(image.id);
    } catch (cause) {
      throw new TsswarmError('IMAGE_NOT_FOUND', `building: COPY --from=${from}: ${messageOf(cause)}`, { where, cause });
    }
  }

  #document(state: StageState): Record<string, unknown> & { rootfs: object } {
    return {
      created: new Date(this.#parts.clock.now()).toISOString(),
      architecture: this.#parts.architecture,
      os: 'linux',
      config: state.config,
      rootfs: { type: 'layers', diff_ids: state.diffIds },
      history: state.history,
    };
  }
}

/** An ARG without a value of its own takes the global one. */
function withGlobals(instruction: Instruction, globals: ReadonlyMap<string, string>): Instruction {
  if (instruction.name !== 'ARG') return instruction;
  const words = splitWords(instruction.rest).map((word) => {
    const value = globals.get(word);
    return value === undefined ? word : `${word}=${JSON.stringify(value).replaceAll('$', '\\$')}`;
  });
  return { ...instruction, rest: words.join(' ') };
}

/** What the runtime makes in a writable layer so that it can mount over it is not the step's work. */
async function removeMountPoints(upper: string): Promise<void> {
  for (const path of ['etc/hosts', 'etc/hostname', 'etc/resolv.conf', '.dockerenv']) {
    const stat = statSync(join(upper, path), { throwIfNoEntry: false });
    if (stat?.isFile() === true && stat.size === 0) await rm(join(upper, path));
  }
}

/** Sources of `COPY --from`: what the stack shows, without mounting it. Content of directories comes from all its layers. */
function fromStack(layers: readonly string[], pattern: string): Source[] {
  const view = viewStack(layers);
  const path = view.locate(`/${pattern.replace(/^\/+/, '')}`);
  if (path === undefined) return [];
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) {
    const [source] = findSources(
      path.slice(0, path.lastIndexOf('/')),
      path.slice(path.lastIndexOf('/') + 1),
      () => false,
    );
    return source === undefined ? [] : [{ ...source, name: pattern }];
  }
  const inside = view.resolve(`/${pattern.replace(/^\/+/, '')}`);
  const merged = new Map<string, Source['files'][number]>();
  for (const layer of layers.toReversed()) {
    const root = `${layer}${inside}`;
    if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) continue;
    const [source] = findSources(layer, inside, () => false);
    for (const file of source?.files ?? []) merged.set(file.relative, file);
  }
  // What an upper layer took away is still in the lower ones: only what the stack shows is copied.
  const files = [...merged.values()].filter(
    ({ relative }) => relative === '' || view.locate(`${inside}/${relative}`) !== undefined,
  );
  files.sort((a, b) => (a.relative < b.relative ? -1 : 1));
  return [{ name: pattern, isDirectory: true, files }];
}

const isArchive = (path: string): boolean => /\.(tar|tar\.gz|tgz|tar\.zst)$/.test(path);

/** The content of an archive that ADD unpacks, moved to its destination. */
async function* extracted(source: Source, target: string): AsyncGenerator<Uint8Array, void> {
  const path = source.files[0]?.path ?? '';
  const what = `the archive "${source.name}"`;
  yield* relocate(decompress(createReadStream(path), what), target, what);
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

import { imageOf } from '../../../compose/index.ts';
import type { ComposeProject, ComposeService, ImageBuild } from '../../../compose/index.ts';
import { Semaphore } from '../../../base/async.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import { ImageProgressRows } from '../../images/progress-rows.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { ProgressRow } from '../../render/progress.ts';
import type { Context } from '../context.ts';
import { buildImages } from './build.ts';

/** Pulls under way at a time; each fetches its layers side by side. */
const PULLS_AT_ONCE = 4;

export type PullWord = 'always' | 'missing' | 'never';

export interface ImageOptions {
  /** true with `--build`: build although the image is there; false with `--no-build`: never build. */
  readonly build?: boolean;
  /** `--pull`: over what the services say. */
  readonly pull?: string;
  readonly quietPull?: boolean;
}

/** What has to be done before the images of some services are here. */
export interface ImagePlan {
  readonly pulls: readonly string[];
  readonly builds: readonly ImageBuild[];
}

/**
 * Gets the images of some services: pulls and builds what is missing or asked for. Nothing else is changed, so that a
 * project whose image cannot be had stays as it is.
 * @throws what pulling or building throws, after all others have ended
 */
export async function provideImages(
  context: Context,
  node: NodeClient,
  services: ReadonlyMap<string, ComposeService>,
  project: ComposeProject,
  builds: readonly ImageBuild[],
  options: ImageOptions,
): Promise<void> {
  const present = new Set<string>();
  const images = new Set([...services].map(([name, service]) => imageOf(project, name, service)));
  await Promise.all(
    [...images].map(async (reference) => {
      if ((await node.images.find({ reference })).image !== undefined) present.add(reference);
    }),
  );
  const plan = planImages(project, services, builds, present, options);
  await pullImages(context, node, plan.pulls, options.quietPull === true);
  if (plan.builds.length > 0) await buildImages(context, node, plan.builds, {});
}

/**
 * Which images are pulled and which are built, as Compose decides it: `--pull` over `pull_policy`, and a service with
 * `build:` is built when its image is absent.
 * @param present images that are on the node
 * @throws IMAGE_NOT_FOUND for an image that may be neither pulled nor built; INVALID_INPUT for an unknown policy
 */
export function planImages(
  project: ComposeProject,
  services: ReadonlyMap<string, ComposeService>,
  builds: readonly ImageBuild[],
  present: ReadonlySet<string>,
  options: ImageOptions,
): ImagePlan {
  const pulls = new Set<string>();
  const wanted: ImageBuild[] = [];
  const asked = options.pull === undefined || options.pull === 'policy' ? undefined : pullWord(options.pull);
  for (const [name, service] of services) {
    const image = imageOf(project, name, service);
    const build = builds.find((one) => one.service === name);
    const isHere = present.has(image);
    const policy = asked ?? policyOf(service.pull_policy);
    if (build !== undefined) {
      const builds = options.build === true || service.pull_policy === 'build' || !isHere;
      if (builds && options.build !== false) wanted.push(asked === 'always' ? { ...build, pull: true } : build);
      else if (!isHere) throw missing(name, image, '--no-build was given', 'build it with "tscompose build"');
      continue;
    }
    if (policy === 'always' || (policy === 'missing' && !isHere)) pulls.add(image);
    else if (!isHere) {
      throw missing(name, image, 'it may not be pulled (pull_policy: never)', 'load it with "tsswarm image load"');
    }
  }
  return { pulls: [...pulls], builds: wanted };
}

/** Pulls images side by side, with progress. @throws the first error, once all have ended */
export async function pullImages(
  context: Context,
  node: NodeClient,
  references: readonly string[],
  quiet: boolean,
  ignoreFailures = false,
): Promise<void> {
  if (references.length === 0) return;
  const display = context.openDisplay('Pulling', { quiet });
  const trackers = references.map((reference) => new ImageProgressRows(reference, 'Pulling', 'Pulled'));
  const update = (): void => display.update(trackers.flatMap((tracker): readonly ProgressRow[] => tracker.rows()));
  const places = new Semaphore(PULLS_AT_ONCE);
  const results = await Promise.allSettled(
    trackers.map((tracker, index) =>
      places.use(async () => {
        update();
        try {
          for await (const event of node.images.pull({ reference: references[index] ?? '' })) {
            if (event.progress !== undefined) tracker.take(event.progress);
            update();
          }
          tracker.finish();
        } catch (error) {
          tracker.fail(messageOf(error));
          throw error;
        } finally {
          update();
        }
      }),
    ),
  );
  display.close();
  for (const result of results) {
    if (result.status === 'fulfilled') continue;
    if (!ignoreFailures) throw withLoadHint(result.reason);
    context.warn(messageOf(result.reason));
  }
}

function policyOf(policy: string | undefined): PullWord {
  return policy === 'always' || policy === 'never' ? policy : 'missing';
}

function pullWord(given: string): PullWord {
  if (given === 'always' || given === 'missing' || given === 'never') return given;
  throw new TsswarmError('INVALID_INPUT', `using --pull "${given}": expected always, missing or never`);
}

function missing(service: string, image: string, why: string, hint: string): TsswarmError {
  return new TsswarmError('IMAGE_NOT_FOUND', `service "${service}": image "${image}" is not on this node and ${why}`, {
    hint,
  });
}

/** A registry that cannot be reached is no end: images can be brought in by hand. */
function withLoadHint(error: unknown): unknown {
  if (!isTsswarmError(error, 'REGISTRY_UNAVAILABLE') || error.hint !== undefined) return error;
  return new TsswarmError(error.code, error.message, {
    cause: error,
    hint: 'check the network, or load the image from an archive with "tsswarm image load"',
  });
}

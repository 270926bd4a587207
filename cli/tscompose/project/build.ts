import type { ImageBuild } from '../../../compose/index.ts';
import { messageOf } from '../../../base/errors.ts';
import type { BuildImageRequest } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { ProgressRow } from '../../render/progress.ts';
import type { Context } from '../context.ts';

export interface BuildOptions {
  readonly noCache?: boolean;
  readonly pull?: boolean;
  readonly quiet?: boolean;
  /** `--build-arg`: over those of the file. */
  readonly args?: Readonly<Record<string, string>>;
}

/** Output lines of a step that are kept, to be shown when it fails. */
const KEPT_LINES = 30;

/**
 * Builds images one after another: they share the machine and often their layers.
 * @throws BUILD_FAILED after the last lines of the step that failed
 */
export async function buildImages(
  context: Context,
  node: NodeClient,
  builds: readonly ImageBuild[],
  options: BuildOptions,
): Promise<void> {
  const display = context.openDisplay('Building', { quiet: options.quiet === true });
  const rows = new Map<string, ProgressRow>();
  try {
    for (const build of builds) {
      const key = `service ${build.service}`;
      const tell = (row: Partial<ProgressRow>): void => {
        rows.set(key, { key, label: `Service ${build.service}`, status: 'Building', phase: 'working', ...row });
        display.update([...rows.values()]);
      };
      tell({});
      let step = '';
      const output: string[] = [];
      try {
        for await (const { progress } of node.images.build(requestOf(build, options))) {
          if (progress === undefined) continue;
          if (progress.status === 'step') {
            step = progress.id || progress.text;
            output.length = 0;
          } else if (progress.status === 'output') {
            output.push(progress.text.trimEnd());
            if (output.length > KEPT_LINES) output.shift();
          }
          tell({ detail: progress.status === 'output' ? `${step}  ${progress.text.trim()}` : step, quiet: false });
        }
      } catch (error) {
        tell({ status: 'Error', phase: 'error', detail: step || messageOf(error) });
        display.close();
        for (const line of output) context.terminal.err(`  ${line}\n`);
        throw error;
      }
      tell({ status: 'Built', phase: 'done' });
    }
  } finally {
    display.close();
  }
}

function requestOf(build: ImageBuild, options: BuildOptions): BuildImageRequest {
  const { service: _service, ...request } = build;
  return {
    ...request,
    args: { ...build.args, ...options.args },
    noCache: build.noCache || options.noCache === true,
    pull: build.pull || options.pull === true,
  };
}

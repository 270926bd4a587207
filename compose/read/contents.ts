import { TsswarmError } from '../../base/errors.ts';
import type { ComposeProject } from '../types/project.ts';
import type { FileReader } from './files.ts';

/**
 * The bytes of every secret and config of a project, by "secrets/<key>" and "configs/<key>".
 * @throws NOT_FOUND, INVALID_INPUT naming the secret
 */
export async function readContents(
  project: ComposeProject,
  reader: FileReader,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const contents = new Map<string, Uint8Array>();
  for (const kind of ['secrets', 'configs'] as const) {
    for (const [key, object] of Object.entries(project[kind])) {
      if (object.file !== undefined) contents.set(`${kind}/${key}`, await reader.readBytes(object.file));
      else if (object.content !== undefined) contents.set(`${kind}/${key}`, Buffer.from(object.content));
      else if (object.environment !== undefined) {
        const value = environment[object.environment];
        if (value === undefined) {
          throw new TsswarmError(
            'NOT_FOUND',
            `reading ${kind.slice(0, -1)} "${key}": the variable "${object.environment}" is not set`,
          );
        }
        contents.set(`${kind}/${key}`, Buffer.from(value));
      }
    }
  }
  return contents;
}

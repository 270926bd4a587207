import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { ConfigId, SecretId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type {
  CreateFileRequest,
  CreateFileResponse,
  FileKind,
  ListFilesResponse,
  RemoveFileRequest,
  Secret,
} from '../../proto/types/index.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';
import { validateFile } from './validate.ts';

/** Makes a secret or config of no project. @throws ALREADY_EXISTS, and what {@link validateFile} throws */
export function createFile(
  tx: WriteTransaction,
  { kind, spec }: CreateFileRequest,
  now: number,
  random: Random,
): CreateFileResponse {
  demandKind(kind);
  validateFile(kind, spec);
  if (tx.find(kind, 'name', spec.name).length > 0) {
    throw new TsswarmError('ALREADY_EXISTS', `creating ${kind} "${spec.name}": one of that name exists`, {
      hint: 'contents cannot change: choose another name, and give it to the services with "tsswarm service update"',
    });
  }
  const common = { meta: { version: 0, createdAt: now, updatedAt: now }, projectId: '' as const, spec };
  const id = newId<SecretId>(random);
  if (kind === 'secret') tx.create('secret', { ...common, id });
  else tx.create('config', { ...common, id: id as string as ConfigId });
  return { id };
}

/** All secrets, without their bytes, or all configs. @throws INVALID_INPUT for another kind */
export function listFiles(tx: ReadTransaction, kind: FileKind): ListFilesResponse {
  demandKind(kind);
  if (kind === 'config') return { files: tx.list('config') };
  const hidden = (secret: Secret): Secret => ({ ...secret, spec: { ...secret.spec, data: new Uint8Array() } });
  return { files: tx.list('secret').map(hidden) };
}

/** Removes a secret or config. @throws NOT_FOUND; IN_USE while a service has it */
export function removeFile(tx: WriteTransaction, { kind, id }: RemoveFileRequest): void {
  demandKind(kind);
  const file = kind === 'secret' ? tx.get('secret', id as SecretId) : tx.get('config', id as ConfigId);
  if (file === undefined) throw new TsswarmError('NOT_FOUND', `removing ${kind} "${id}": no such ${kind}`);
  const { name } = file.spec;
  const users = tx
    .list('service')
    .filter(({ spec }) => spec.task.container[`${kind}s`].some((reference) => reference.name === name))
    .map(({ spec }) => spec.name);
  if (users.length > 0) {
    const words = users.length === 1 ? 'service' : 'services';
    throw new TsswarmError('IN_USE', `${kind} '${name}' is in use by the following ${words}: ${users.join(', ')}`);
  }
  if (kind === 'secret') tx.remove('secret', id as SecretId);
  else tx.remove('config', id as ConfigId);
}

function demandKind(kind: string): void {
  if (kind === 'secret' || kind === 'config') return;
  throw new TsswarmError('INVALID_INPUT', `using the kind "${kind}": expected secret or config`);
}

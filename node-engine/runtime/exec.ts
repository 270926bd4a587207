import { TsswarmError } from '../../base/errors.ts';
import type { ExecRequest } from '../types.ts';
import { resolveCapabilities } from './capabilities.ts';
import { mergeEnvironment, resolveEnvironment, resolveWorkingDir } from './command.ts';
import type { OciProcess } from './oci.ts';
import type { ContainerRecord } from './record.ts';
import { resolveRlimits } from './resources.ts';
import { parseSecurityOptions } from './security.ts';
import { processUser } from './spec.ts';

/**
 * The process of an exec: as the container's main process, with what the request asks for on top.
 * @throws INVALID_INPUT
 */
export function execProcess({ spec, image, hostname, name }: ContainerRecord, request: ExecRequest): OciProcess {
  if (request.argv.length === 0) {
    throw new TsswarmError('INVALID_INPUT', `executing a command in container "${name}": no command was given`);
  }
  const user = request.user || spec.user || image.user;
  const security = parseSecurityOptions(spec.securityOpt, spec.privileged);
  return {
    terminal: request.tty,
    ...(request.size ? { consoleSize: { width: request.size.columns, height: request.size.rows } } : {}),
    user: processUser(user, spec.groups),
    args: request.argv,
    env: mergeEnvironment(resolveEnvironment(image.env, spec.env, hostname, request.tty || spec.tty), request.env),
    cwd: resolveWorkingDir(request.workingDir || spec.workingDir, image.workingDir),
    capabilities: resolveCapabilities(spec.capAdd, spec.capDrop, spec.privileged || request.privileged),
    rlimits: resolveRlimits(spec.ulimits),
    noNewPrivileges: security.noNewPrivileges && !request.privileged,
    ...(spec.oomScoreAdj === 0 ? {} : { oomScoreAdj: spec.oomScoreAdj }),
  };
}

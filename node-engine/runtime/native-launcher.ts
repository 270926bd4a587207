import { TsswarmError } from '../../base/errors.ts';
import type { LaunchFailure as FailureLine } from '../launcher/failure.ts';
import { attachTo, killAll, limitLog, signalContainer, startBundle, waitForExit } from '../launcher/index.ts';
import { execInContainer } from './exec-session.ts';
import type { Launcher, Supervision } from './ports.ts';
import { LaunchError } from './ports.ts';

/** The launcher of `node-engine/native` as the runtime sees it. @param program path of tsrun */
export function nativeLauncher(program: string): Launcher {
  return {
    run: ({ bundle, runDir, log, seccompPath, stdin, leasePath }) =>
      translated(
        startBundle({
          program,
          bundleDir: bundle,
          runDir,
          stdin,
          ...(log ? { log: { path: log.path, maxSizeBytes: log.maxBytes, maxFiles: log.maxFiles } } : {}),
          ...(seccompPath === '' ? {} : { seccompFilter: seccompPath }),
          ...(leasePath === undefined ? {} : { lease: leasePath }),
        }),
      ),
    exec: (request) => execInContainer(program, request),
    killAll: (runDir) => killAll(runDir, program),
    supervise: (runDir) => supervise(runDir),
    limitLog,
    signal: (runDir, signal) => signalContainer(runDir, String(signal)),
    attach: (runDir) => attachTo(runDir),
  };
}

function supervise(runDir: string): Supervision {
  const released = new AbortController();
  return {
    kill: (signal) => signalContainer(runDir, String(signal)),
    closed: waitForExit(runDir, released.signal).then(
      () => undefined,
      (error: unknown) => {
        if (!released.signal.aborted) throw error;
      },
    ),
    close: () => released.abort(),
  };
}

/** What the launcher said, instead of what its client made of it: the runtime knows the container and the image. */
async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof TsswarmError && isFailure(error.cause)) throw new LaunchError(error.cause);
    throw error;
  }
}

function isFailure(cause: unknown): cause is FailureLine {
  const fields = cause as Partial<Record<keyof FailureLine, unknown>> | null | undefined;
  return typeof fields?.stage === 'string' && typeof fields.errno === 'string' && typeof fields.message === 'string';
}

/** The thread in which layers are unpacked and trees removed: many small synchronous calls that must not hold up the daemon. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { LayerApplier } from './apply.ts';
import { decompress } from './decompress.ts';
import { kernelCalls } from './native-calls.ts';
import { removeTree } from './remove-tree.ts';
import { TarReader } from './tar-reader.ts';
import { packFailure } from './worker-protocol.ts';
import type { ApplyJob, ApplyResult, Job, Reply, Request } from './worker-protocol.ts';

/** Bytes of archive between two reports. */
const REPORT_EVERY = 1 << 20;
const READ_BYTES = 256 * 1024;

const running = new Map<number, AbortController>();

if (parentPort !== null) {
  const port = parentPort;
  const reply = (message: Reply): void => port.postMessage(message);
  port.on('message', (request: Request) => {
    if ('cancel' in request) return running.get(request.cancel)?.abort();
    const { id, job } = request;
    const abort = new AbortController();
    running.set(id, abort);
    void perform(job, (progress) => reply({ id, progress }), abort.signal)
      .then((result) => reply({ id, result }))
      .catch((error: unknown) => reply({ id, failure: packFailure(error) }))
      .finally(() => running.delete(id));
  });
}

async function perform(
  job: Job,
  onProgress: (bytes: number) => void,
  signal: AbortSignal,
): Promise<ApplyResult | undefined> {
  if (job.kind === 'apply') return await apply(job, onProgress, signal);
  removeTree(job.path);
  return undefined;
}

async function apply(job: ApplyJob, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<ApplyResult> {
  const applier = new LayerApplier(job.root, kernelCalls, job.lower, job.limits);
  const reader = new TarReader(job.what);
  const hash = createHash('sha256');
  let plainBytes = 0;
  try {
    for await (const chunk of decompress(archiveBytes(job.archive, onProgress), job.what)) {
      signal.throwIfAborted();
      // Also what follows the end of the archive counts for the digest, and against the bomb limit.
      hash.update(chunk);
      plainBytes += chunk.length;
      if (plainBytes > job.limits.maxBytes + job.limits.maxEntries * 1024) applier.refuseSize();
      for (const event of reader.push(chunk)) {
        if (event.kind === 'data') applier.data(event.data);
        else if (event.kind === 'entry') applier.begin(event.entry);
        else applier.end();
      }
    }
    reader.finish();
    return { ...applier.finish(), diffId: `sha256:${hash.digest('hex')}` };
  } finally {
    applier.abandon();
  }
}

async function* archiveBytes(path: string, onProgress: (bytes: number) => void): AsyncGenerator<Buffer, void> {
  let read = 0;
  let reported = 0;
  for await (const chunk of fs.createReadStream(path, { highWaterMark: READ_BYTES })) {
    read += (chunk as Buffer).length;
    if (read - reported >= REPORT_EVERY) onProgress((reported = read));
    yield chunk as Buffer;
  }
}

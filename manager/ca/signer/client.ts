import { Agent, request as httpsRequest } from 'node:https';
import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { TlsIdentity } from '../../../proto/rpc/live-identity.ts';
import type { ExternalCa } from '../../../proto/types/index.ts';
import type { ExternalSigner, SignRequest } from './signer.ts';

/** How long an external CA may take. */
const PATIENCE_MS = 10_000;
/** A certificate with its chain is a few thousand bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
const CODE_OK = 200;
/** Of an answer that makes no sense. */
const SHOWN_CHARACTERS = 200;

const HINT =
  'check that it runs, that it shows a certificate of its root for that name, and that it lets managers in by the roots of "tsswarm ca"';

export interface ExternalSignerOptions {
  /** What is shown to the CA; an empty certificate: nothing is. */
  readonly identity: (ca: ExternalCa) => TlsIdentity;
  readonly clock: Clock;
  /** What to look at when a CA does not answer, or refuses; absent: what helps a manager of a cluster that there is. */
  readonly hint?: string;
}

/** Asks external CAs by CFSSL's sign request: JSON over https, where this manager shows its own certificate. */
export function externalSigner({ identity, clock, hint = HINT }: ExternalSignerOptions): ExternalSigner {
  return async (ca, request, outer) => {
    const patience = new AbortController();
    const late = new AbortController();
    void sleep(clock, PATIENCE_MS, patience.signal).then(
      () => late.abort(new Error(`no answer within ${PATIENCE_MS / 1000} s`)),
      () => undefined,
    );
    const signal = outer === undefined ? late.signal : AbortSignal.any([outer, late.signal]);
    try {
      return certificateIn(await post(ca, bodyOf(request), identity(ca), signal));
    } catch (cause) {
      outer?.throwIfAborted();
      const reason = late.signal.aborted ? messageOf(late.signal.reason) : reasonOf(cause);
      throw new TsswarmError('UNAVAILABLE', `asking the external CA "${ca.url}" for a certificate: ${reason}`, {
        cause,
        hint,
      });
    } finally {
      patience.abort();
    }
  };
}

/** What OpenSSL says of the server's certificate, and the server of ours, in words that help. */
function reasonOf(error: unknown): string {
  const code = String((error as { readonly code?: unknown }).code);
  const isForeign =
    code.startsWith('UNABLE_TO_') || code.startsWith('SELF_SIGNED_') || code.startsWith('DEPTH_ZERO_SELF_SIGNED_');
  if (isForeign) return 'it shows a certificate of another root than the one that it is to sign with';
  if (code.endsWith('_ALERT_CERTIFICATE_REQUIRED')) return 'it lets nobody in without a certificate';
  if (/_ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED)$/.test(code))
    return 'it does not take the certificate that it was shown';
  // Some servers say nothing before they hang up.
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return 'it closes the connection, as one that does not take the certificate it was shown';
  return messageOf(error);
}

/** The names of CFSSL's signer.SignRequest. */
function bodyOf({ csr, subject, hosts, profile }: SignRequest): string {
  return JSON.stringify({
    certificate_request: csr,
    ...(hosts === undefined ? {} : { hosts }),
    ...(subject === undefined
      ? {}
      : { subject: { CN: subject.nodeId, names: [{ OU: subject.unit, O: subject.clusterId }] } }),
    ...(profile === undefined ? {} : { profile }),
  });
}

function post(ca: ExternalCa, body: string, { certificate, key, roots }: TlsIdentity, signal: AbortSignal) {
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const call = httpsRequest(
      ca.url,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        agent: new Agent({ keepAlive: false }),
        cert: certificate,
        key,
        ca: [ca.rootCertificate, roots],
        signal,
      },
      (answer) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) call.destroy(new Error(`it answers with more than ${MAX_ANSWER_BYTES} bytes`));
          else chunks.push(chunk);
        });
        answer.on('error', reject);
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

/** What CFSSL answers, as far as it can be believed. */
interface Answer {
  readonly success?: unknown;
  readonly result?: { readonly certificate?: unknown } | null;
  readonly errors?: unknown;
}

function certificateIn({ status, text }: { readonly status: number; readonly text: string }): string {
  let answer: Answer | null;
  try {
    answer = JSON.parse(text) as Answer | null;
  } catch (cause) {
    throw new Error(`it answers with status ${status}, and no JSON: ${text.slice(0, SHOWN_CHARACTERS)}`, { cause });
  }
  const certificate = answer?.result?.certificate;
  if (status === CODE_OK && answer?.success === true && typeof certificate === 'string') return certificate;
  const errors = Array.isArray(answer?.errors) ? (answer.errors as readonly unknown[]) : [];
  const said = errors
    .map((error) => error as { readonly code?: unknown; readonly message?: unknown } | null)
    .map((error) => `${String(error?.message ?? '')} (${String(error?.code ?? '?')})`)
    .join(', ');
  throw new Error(`it refuses with status ${status}: ${(said === '' ? text : said).slice(0, SHOWN_CHARACTERS)}`);
}

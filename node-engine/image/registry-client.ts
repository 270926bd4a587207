import { sleep, backoffMs } from '../../base/async.ts';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import { INDEX_TYPES, MANIFEST_TYPES } from './media-types.ts';
import { MAX_MANIFEST_BYTES } from './manifest.ts';

/** Docker's default registry answers under another name than images carry. */
const HOSTS: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' };
const ACCEPT = [...INDEX_TYPES, ...MANIFEST_TYPES].join(', ');
const ATTEMPTS = 5;
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5000;
/** A server that sends nothing for so long is given up. */
export const IDLE_MS = 30_000;

/** A manifest as the registry has it. */
export interface FetchedManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

/**
 * Reads from one repository of a registry by the distribution protocol (distribution-spec, "Pull"). Anonymous: a registry
 * that hands out tokens to everybody is asked for one. Plain HTTP only to this machine.
 */
export class RegistryClient {
  readonly #base: string;
  readonly #domain: string;
  readonly #repository: string;
  #token: string | undefined;

  /** @param repository path at the registry: "library/nginx" */
  constructor(domain: string, repository: string) {
    const host = HOSTS[domain] ?? domain;
    const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(host);
    this.#base = `${isLocal ? 'http' : 'https'}://${host}/v2/`;
    this.#domain = domain;
    this.#repository = repository;
  }

  /**
   * @param reference tag or digest
   * @throws IMAGE_NOT_FOUND, REGISTRY_UNAVAILABLE, NOT_SUPPORTED where a login is needed
   */
  async manifest(reference: string, signal?: AbortSignal): Promise<FetchedManifest> {
    const response = await this.#get(`manifests/${reference}`, { accept: ACCEPT }, signal);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (bytes.length > MAX_MANIFEST_BYTES) {
      throw new TsswarmError(
        'TOO_LARGE',
        `reading the manifest of "${this.#repository}": it has ${bytes.length} bytes`,
      );
    }
    return { bytes, mediaType: (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? '' };
  }

  /**
   * The bytes of a blob from `offset` on.
   * @returns whether the server begins at `offset` (else at 0), and the bytes
   */
  async blob(
    digest: string,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ resumed: boolean; body: AsyncIterable<Uint8Array> }> {
    const response = await this.#get(`blobs/${digest}`, offset > 0 ? { range: `bytes=${offset}-` } : {}, signal);
    if (response.body === null) throw this.#unavailable('it sent an empty answer');
    return { resumed: response.status === 206, body: response.body };
  }

  async #get(path: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const last = attempt + 1 >= ATTEMPTS;
      let response: Response;
      try {
        response = await this.#fetch(path, headers, signal);
      } catch (cause) {
        signal?.throwIfAborted();
        if (isTsswarmError(cause)) throw cause;
        const reason = reasonOf(cause);
        // Nobody listens, or no such host: trying again at once changes nothing.
        if (last || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH/.test(reason))
          throw this.#unavailable(reason, cause);
        await sleep(systemClock, backoffMs(attempt, FIRST_RETRY_MS, LONGEST_RETRY_MS), signal);
        continue;
      }
      if (response.ok) return response;
      await response.body?.cancel();
      if (response.status === 401 && this.#token === undefined) {
        this.#token = await this.#anonymousToken(response.headers.get('www-authenticate') ?? '', signal);
        continue;
      }
      if (response.status === 404) {
        throw new TsswarmError(
          'IMAGE_NOT_FOUND',
          `reading "${path}" of "${this.#domain}/${this.#repository}": the registry has no such image or tag`,
        );
      }
      if (response.status === 401 || response.status === 403) throw this.#denied();
      if (last || (response.status < 500 && response.status !== 429))
        throw this.#unavailable(`it answered with status ${response.status}`);
      const wanted = Number(response.headers.get('retry-after')) * 1000;
      await sleep(
        systemClock,
        Number.isFinite(wanted) && wanted > 0
          ? Math.min(wanted, 60_000)
          : backoffMs(attempt, FIRST_RETRY_MS, LONGEST_RETRY_MS),
        signal,
      );
    }
  }

  #fetch(path: string, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<Response> {
    const idle = AbortSignal.timeout(IDLE_MS);
    // fetch drops the authorization when it follows a redirect to another host (Fetch standard, "HTTP-redirect fetch").
    return fetch(`${this.#base}${this.#repository}/${path}`, {
      headers: {
        ...headers,
        'accept-encoding': 'identity',
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
      },
      signal: signal === undefined ? idle : AbortSignal.any([idle, signal]),
    });
  }

  /** A token for everybody (distribution-spec's token authentication). @throws NOT_SUPPORTED where there is none */
  async #anonymousToken(challenge: string, signal: AbortSignal | undefined): Promise<string> {
    const fields = Object.fromEntries(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', value = '']) => [key, value]),
    );
    const realm = fields['realm'];
    if (!/^bearer /i.test(challenge) || realm === undefined) throw this.#denied();
    const url = new URL(realm);
    if (fields['service'] !== undefined) url.searchParams.set('service', fields['service']);
    url.searchParams.set('scope', fields['scope'] ?? `repository:${this.#repository}:pull`);
    const response = await fetch(url, signal === undefined ? {} : { signal }).catch((cause: unknown) => {
      throw this.#unavailable(reasonOf(cause), cause);
    });
    if (!response.ok) throw this.#denied();
    const { token, access_token } = (await response.json()) as { token?: string; access_token?: string };
    return token ?? access_token ?? '';
  }

  #denied(): TsswarmError {
    return new TsswarmError(
      'IMAGE_NOT_FOUND',
      `pulling "${this.#domain}/${this.#repository}": the registry does not show it to everybody, or it does not exist`,
      {
        hint: 'logging in is not supported yet: load the image from an archive with "tsswarm image load"',
      },
    );
  }

  #unavailable(reason: string, cause?: unknown): TsswarmError {
    return new TsswarmError(
      'REGISTRY_UNAVAILABLE',
      `pulling "${this.#domain}/${this.#repository}": the registry "${this.#domain}" cannot be used: ${reason}`,
      {
        cause,
        hint: 'check the name and the network; an image can also be loaded from an archive with "tsswarm image load"',
      },
    );
  }
}

/** The system's own reason under fetch's "fetch failed". */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  if (cause === undefined) return messageOf(error);
  const code = (cause as { code?: unknown }).code;
  return typeof code === 'string' ? code : messageOf(cause);
}

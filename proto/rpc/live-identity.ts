import { constants } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext, SecureContextOptions } from 'node:tls';
import { identityOf } from './certificate.ts';
import type { NodeIdentity } from './certificate.ts';

/** What a node proves itself with and checks others against. All PEM. */
export interface TlsIdentity {
  /** The node's own certificate, then what leads to a root. */
  readonly certificate: string;
  /** PKCS #8. */
  readonly key: string;
  /** Every root that is trusted now. */
  readonly roots: string;
}

/**
 * A node's identity while the daemon runs: it is replaced at renewal and rotation, and every connection that is made
 * afterwards uses the new one. Connections that are there stay.
 */
export interface LiveIdentity {
  readonly current: TlsIdentity;
  /** Who `current` says the node is. */
  readonly node: NodeIdentity;
  /** For new outgoing connections. */
  readonly secureContext: SecureContext;
  /** @throws INVALID_INPUT when the certificate names no node; the old identity stays then */
  replace(next: TlsIdentity): void;
  /** Calls `listener` after every replacement, until the returned function is called. */
  onReplace(listener: () => void): () => void;
}

/** TLS 1.3 only; no tickets: a resumed session would carry an old verdict on the peer's certificate. */
export function contextOptions({ certificate, key, roots }: TlsIdentity): SecureContextOptions {
  return { cert: certificate, key, ca: roots, minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };
}

/** @throws INVALID_INPUT when the certificate names no node */
export function createLiveIdentity(initial: TlsIdentity): LiveIdentity {
  const listeners = new Set<() => void>();
  let current = initial;
  let node = identityOf(initial.certificate);
  let secureContext = createSecureContext(contextOptions(initial));
  return {
    get current() {
      return current;
    },
    get node() {
      return node;
    },
    get secureContext() {
      return secureContext;
    },
    replace(next) {
      const nextNode = identityOf(next.certificate);
      const nextContext = createSecureContext(contextOptions(next));
      [current, node, secureContext] = [next, nextNode, nextContext];
      for (const listener of [...listeners]) listener();
    },
    onReplace(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

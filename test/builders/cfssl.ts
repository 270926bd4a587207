import { execFileSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PORT = 8888;

/** CFSSL as Debian packages it, serving a root of its own over mutual TLS: an external CA. */
export class Cfssl {
  readonly rootFile: string;
  readonly url: string;
  readonly #dir: string;
  readonly #address: string;
  #child: ChildProcess | undefined;

  private constructor(dir: string, address: string) {
    this.#dir = dir;
    this.#address = address;
    this.rootFile = join(dir, 'root.pem');
    this.url = `https://${address}:${PORT}/api/v1/cfssl/sign`;
  }

  /** Makes its root, its certificate and its configuration. @param address that it is reached at */
  static create(dir: string, address: string): Cfssl {
    mkdirSync(dir);
    const file = (name: string): string => join(dir, name);
    const openssl = (...argv: readonly string[]): void => void execFileSync('openssl', argv, { stdio: 'pipe' });
    const newKey = (name: string): readonly string[] =>
      ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'].concat('-keyout', file(`${name}.key`));
    openssl(
      ...['req', '-x509', '-days', '400', '-subj', '/CN=an external root/O=they', ...newKey('root')],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', file('root.pem')],
    );
    openssl('req', '-new', '-subj', '/CN=cfssl', ...newKey('server'), '-out', file('server.csr'));
    writeFileSync(file('server.ext'), `subjectAltName=IP:${address}\nextendedKeyUsage=serverAuth\n`);
    openssl(
      ...[
        'x509',
        '-req',
        '-days',
        '400',
        '-in',
        file('server.csr'),
        '-CA',
        file('root.pem'),
        '-CAkey',
        file('root.key'),
      ],
      ...['-CAcreateserial', '-extfile', file('server.ext'), '-out', file('server.pem')],
    );
    return new Cfssl(dir, address);
  }

  /** Files of a certificate of its root, and of its key, for whoever is to be let in before there is a cluster. */
  client(name: string): { readonly cert: string; readonly key: string } {
    const file = (ending: string): string => join(this.#dir, `${name}.${ending}`);
    const openssl = (...argv: readonly string[]): void => void execFileSync('openssl', argv, { stdio: 'pipe' });
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('key')];
    openssl('req', '-new', '-subj', `/CN=${name}`, ...newKey, '-out', file('csr'));
    writeFileSync(file('ext'), 'extendedKeyUsage=clientAuth\n');
    const root = ['-CA', this.rootFile, '-CAkey', join(this.#dir, 'root.key'), '-CAcreateserial'];
    openssl('x509', '-req', '-days', '2', '-in', file('csr'), ...root, '-extfile', file('ext'), '-out', file('pem'));
    return { cert: file('pem'), key: file('key') };
  }

  /**
   * Serves.
   * @param spawn starts it where it is to be
   * @param clients PEM of the roots that it lets in by
   * @param usages of the certificates that it issues
   */
  start(
    spawn: (...argv: readonly string[]) => ChildProcess,
    clients: string,
    usages: readonly string[] = ['signing', 'server auth', 'client auth'],
  ): void {
    const file = (name: string): string => join(this.#dir, name);
    writeFileSync(file('clients.pem'), clients + readFileSync(this.rootFile, 'utf8'));
    const profiles = {
      CA: { expiry: '240h', usages: ['cert sign', 'crl sign'], ca_constraint: { is_ca: true } },
    };
    writeFileSync(file('config.json'), JSON.stringify({ signing: { default: { expiry: '36h', usages }, profiles } }));
    this.#child = spawn(
      ...['cfssl', 'serve', '-address', this.#address, '-port', String(PORT), '-config', file('config.json')],
      ...['-ca', this.rootFile, '-ca-key', file('root.key'), '-mutual-tls-ca', file('clients.pem')],
      ...['-tls-cert', file('server.pem'), '-tls-key', file('server.key'), '-loglevel', '2'],
    );
  }

  /** Resolves when it has ended. Nothing happens where it does not run. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

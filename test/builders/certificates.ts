import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files of one authority and of a certificate that it signed, for servers and clients at one address. */
export interface CertificateFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  read(file: 'ca' | 'certificate' | 'key'): string;
  /** Another certificate of the authority, with a name in it. @returns PEM */
  issue(commonName: string): { readonly certificate: string; readonly key: string };
  remove(): void;
}

/** Makes an authority and a certificate by openssl, as an operator would. */
export function makeCertificates(address = '127.0.0.1'): CertificateFiles {
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-tls-'));
  const path = (name: string): string => join(dir, name);
  const openssl = (...argv: readonly string[]): void => {
    execFileSync('openssl', argv, { stdio: 'ignore' });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    path('ca.key'),
    '-out',
    path('ca.pem'),
    '-subj',
    '/CN=test',
    '-days',
    '2',
  );
  writeFileSync(path('ext'), `subjectAltName=IP:${address}\nextendedKeyUsage=serverAuth,clientAuth\n`);
  const signer = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '2'];
  const sign = (name: string, subject: string): void => {
    openssl('req', ...newKey, '-keyout', path(`${name}.key`), '-out', path(`${name}.csr`), '-subj', subject);
    const request = ['-in', path(`${name}.csr`), '-out', path(`${name}.pem`), '-extfile', path('ext')];
    openssl('x509', '-req', ...request, ...signer);
  };
  sign('node', '/O=test');
  const files = { ca: path('ca.pem'), certificate: path('node.pem'), key: path('node.key') };
  return {
    ...files,
    read: (file) => readFileSync(files[file], 'utf8'),
    issue(commonName) {
      sign('named', `/CN=${commonName}`);
      return { certificate: readFileSync(path('named.pem'), 'utf8'), key: readFileSync(path('named.key'), 'utf8') };
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

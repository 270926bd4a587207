import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Files of one authority and of a certificate that it signed, for servers and clients at 127.0.0.1. */
export interface CertificateFiles {
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  read(file: 'ca' | 'certificate' | 'key'): string;
  remove(): void;
}

/** Makes an authority and a certificate by openssl, as an operator would. */
export function makeCertificates(): CertificateFiles {
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
  openssl('req', ...newKey, '-keyout', path('node.key'), '-out', path('node.csr'), '-subj', '/O=test');
  writeFileSync(path('ext'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  const signer = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-CAcreateserial', '-days', '2'];
  openssl('x509', '-req', '-in', path('node.csr'), ...signer, '-out', path('node.pem'), '-extfile', path('ext'));
  const files = { ca: path('ca.pem'), certificate: path('node.pem'), key: path('node.key') };
  return {
    ...files,
    read: (file) => readFileSync(files[file], 'utf8'),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

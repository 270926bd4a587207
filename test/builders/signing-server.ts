import 'reflect-metadata';
import { createServer } from 'node:https';
import type { Server, ServerOptions } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { createRootCa, newSerialNumber } from '../../manager/ca/root.ts';
import type { RootCa } from '../../manager/ca/root.ts';
import { KEY_ALGORITHM, importSigningKey } from '../../manager/ca/signing-key.ts';
import type { ExternalCa } from '../../proto/types/index.ts';

const HOUR_MS = 3600 * 1000;

/** The body of CFSSL's sign request. */
export interface SignBody {
  readonly certificate_request: string;
  readonly subject?: { readonly CN: string; readonly names: readonly { readonly OU?: string; readonly O?: string }[] };
  readonly hosts?: readonly string[];
  readonly profile?: string;
}

/** Answers a request, as it is parsed. The default is honest. */
export type SignAnswer = (body: SignBody, response: ServerResponse, server: SigningServer) => Promise<void> | void;

/** A certificate with its key, both PEM. */
export interface Issued {
  readonly certificate: string;
  readonly key: string;
}

/** An external CA in this process: CFSSL's sign request over https on the loopback, with a root of its own. */
export class SigningServer {
  readonly root: RootCa;
  /** What was asked, in order. */
  readonly requests: SignBody[] = [];
  /** Subjects of the certificates that clients have shown; "": none. */
  readonly clients: string[] = [];
  answer: SignAnswer = honest;
  #server: Server | undefined;
  #port = 0;

  private constructor(root: RootCa) {
    this.root = root;
  }

  /** @param root that it signs with; absent: one is made */
  static async create(root?: RootCa): Promise<SigningServer> {
    return new SigningServer(root ?? (await createRootCa('them', Date.now())));
  }

  /**
   * Listens.
   * @param clients PEM of the roots that it lets clients in by; absent: it asks for no certificate
   * @param shows the root that its own certificate is of; absent: its own
   */
  async start(clients?: string, shows: RootCa = this.root): Promise<void> {
    const { certificate, key } = await this.issue('signer', { names: ['localhost'], issuer: shows });
    const asks: ServerOptions =
      clients === undefined ? {} : { requestCert: true, rejectUnauthorized: true, ca: [clients] };
    const server = createServer({ cert: certificate, key, minVersion: 'TLSv1.3', ...asks }, (request, response) => {
      void this.#serve(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://localhost:${this.#port}/api/v1/cfssl/sign`;
  }

  /** As the cluster has it. */
  get externalCa(): ExternalCa {
    return { protocol: 'cfssl', url: this.url, rootCertificate: this.root.certificate };
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** Makes a key and a certificate of this CA, that no cluster knows of. */
  async issue(commonName: string, { names = [] as readonly string[], issuer = this.root } = {}): Promise<Issued> {
    const keys = (await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair;
    const publicKey = new x509.PublicKey(await webcrypto.subtle.exportKey('spki', keys.publicKey));
    const certificate = await certify(issuer, publicKey, [{ CN: [commonName] }], names);
    const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    return { certificate, key };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const peer = (request.socket as TLSSocket).getPeerX509Certificate();
    this.clients.push(peer?.subject ?? '');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as SignBody;
    this.requests.push(body);
    await this.answer(body, response, this);
  }
}

/** Signs what is asked for, as CFSSL does: the subject of the request body, or else of the CSR. */
export async function honest(body: SignBody, response: ServerResponse, { root }: SigningServer): Promise<void> {
  respond(response, await signed(root, body));
}

/** Signs with a subject of its own choice. */
export async function signed(root: RootCa, body: SignBody): Promise<string> {
  const request = new x509.Pkcs10CertificateRequest(body.certificate_request);
  const names = body.subject?.names[0];
  const subject =
    body.subject === undefined
      ? request.subjectName.toJSON()
      : [{ O: [names?.O ?? ''] }, { OU: [names?.OU ?? ''] }, { CN: [body.subject.CN] }];
  return certify(root, request.publicKey, subject, body.hosts ?? [], body.profile === 'CA');
}

/** CFSSL's envelope around a certificate. */
export function respond(response: ServerResponse, certificate: string): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ success: true, result: { certificate }, errors: [], messages: [] }));
}

/** CFSSL's envelope around a refusal. */
export function refuse(response: ServerResponse, status: number, code: number, message: string): void {
  response.statusCode = status;
  response.end(JSON.stringify({ success: false, result: null, errors: [{ code, message }], messages: [] }));
}

async function certify(
  issuer: RootCa,
  publicKey: x509.PublicKey,
  subject: x509.JsonName,
  hosts: readonly string[],
  isCa = false,
): Promise<string> {
  const root = new x509.X509Certificate(issuer.certificate);
  const { key, algorithm } = await importSigningKey(issuer.key);
  const usages = isCa
    ? [new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)]
    : [
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject,
    issuer: root.subjectName,
    notBefore: new Date(Date.now() - HOUR_MS),
    notAfter: new Date(Date.now() + 36 * HOUR_MS),
    publicKey,
    signingKey: key as never,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, isCa ? 0 : undefined, true),
      ...usages,
      ...(hosts.length === 0
        ? []
        : [new x509.SubjectAlternativeNameExtension(hosts.map((value) => ({ type: 'dns' as const, value })))]),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

import { X509Certificate, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { issuerOf } from '../../../manager/ca/issue.ts';
import type { Mint } from '../../../manager/ca/mint.ts';
import type { RootCa } from '../../../manager/ca/root.ts';
import type { World } from '../world.ts';

/** How long the certificates of a seed live, ms, and by how much they are backdated. */
export interface Lifetimes {
  readonly lifeMs: number;
  readonly backdateMs: number;
}

/** Of a root: longer than any run. */
const ROOT_MS = 100 * 24 * 3600_000;
const UNITS = { manager: 'swarm-manager', worker: 'swarm-worker' } as const;

const ED25519 = Buffer.from('06032b6570', 'hex');
const NAMES = { CN: '0603550403', O: '060355040a', OU: '060355040b' } as const;
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex');
const KEY_USAGE = Buffer.from('0603551d0f', 'hex');

/**
 * Makes real certificates that are the same in every run of a seed: Ed25519 signs without chance and at once. Nothing of them is
 * played but who makes them, so that the product reads and verifies them with its own code. A "request" is any text.
 */
export function seededMint(world: World, { lifeMs, backdateMs }: Lifetimes): Mint {
  const newKey = (): KeyObject => {
    const seed = Buffer.from(Array.from({ length: 32 }, () => world.integer(0, 255)));
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  };
  // Nobody here proves that he has the key: what a node shows is looked up.
  const nodeKey = newKey();
  let serial = 1;
  let roots = 0;
  const make = (
    subject: Buffer,
    issuer: Buffer,
    key: KeyObject,
    by: KeyObject,
    from: number,
    to: number,
    ca: boolean,
  ) => pem(certificate({ serial: serial++, subject, issuer, key, by, from, to, ca }));
  return {
    readRequest: (csr) => Promise.resolve({ publicKey: undefined as never, keyDigest: csr }),
    issueCertificate(cluster, _request, { nodeId, role }, now) {
      const { certificate: rootPem, key } = issuerOf(cluster);
      const issuedAt = Math.floor((now - backdateMs) / 1000) * 1000;
      const expiresAt = Math.floor((now + lifeMs) / 1000) * 1000;
      const subject = name({ CN: nodeId, OU: UNITS[role], O: cluster.id });
      const issuer = name({ CN: commonName(rootPem) });
      const own = make(subject, issuer, nodeKey, createPrivateKey(key), issuedAt, expiresAt, false);
      return Promise.resolve({ certificate: own + (cluster.caRotation?.crossCertificate ?? ''), issuedAt, expiresAt });
    },
    createRootCa(_clusterId, now): Promise<RootCa> {
      const key = newKey();
      const self = name({ CN: `root${++roots}` });
      const root = make(self, self, key, key, now - ROOT_MS, now + ROOT_MS, true);
      return Promise.resolve({ certificate: root, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() });
    },
    crossSign(cluster, next, now) {
      const subject = name({ CN: commonName(next.certificate) });
      const issuer = name({ CN: commonName(cluster.rootCaCertificate) });
      const by = createPrivateKey(cluster.rootCaKey);
      return Promise.resolve(make(subject, issuer, createPrivateKey(next.key), by, now - ROOT_MS, now + ROOT_MS, true));
    },
  };
}

interface Content {
  readonly serial: number;
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly key: KeyObject;
  readonly by: KeyObject;
  readonly from: number;
  readonly to: number;
  readonly ca: boolean;
}

/** RFC 5280, 4.1. */
function certificate({ serial, subject, issuer, key, by, from, to, ca }: Content): Buffer {
  const algorithm = sequence(ED25519);
  const critical = Buffer.from('0101ff', 'hex');
  const constraints = sequence(BASIC_CONSTRAINTS, critical, tlv(0x04, sequence(...(ca ? [critical] : []))));
  // digitalSignature; keyCertSign and cRLSign.
  const usage = sequence(KEY_USAGE, critical, tlv(0x04, Buffer.from(ca ? '03020106' : '03020780', 'hex')));
  const body = sequence(
    tlv(0xa0, Buffer.from('020102', 'hex')),
    tlv(0x02, Buffer.from([0x40, (serial >> 16) & 0xff, (serial >> 8) & 0xff, serial & 0xff])),
    algorithm,
    issuer,
    sequence(time(from), time(to)),
    subject,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(constraints, usage)),
  );
  return sequence(body, algorithm, tlv(0x03, Buffer.concat([Buffer.from([0]), sign(null, body, by)])));
}

function name(parts: Readonly<Partial<Record<keyof typeof NAMES, string>>>): Buffer {
  const sets = Object.entries(parts).map(([key, value]) =>
    tlv(0x31, sequence(Buffer.from(NAMES[key as keyof typeof NAMES], 'hex'), tlv(0x0c, Buffer.from(value)))),
  );
  return sequence(...sets);
}

/** UTCTime, in whole seconds. */
function time(at: number): Buffer {
  const digits = new Date(at).toISOString().replace(/\D/g, '');
  return tlv(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

const sequence = (...parts: readonly Buffer[]): Buffer => tlv(0x30, Buffer.concat(parts));

function tlv(tag: number, value: Buffer): Buffer {
  const { length } = value;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), value]);
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

const commonName = (rootPem: string): string => new X509Certificate(rootPem).subject.replace('CN=', '');

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../base/errors.ts';
import { readStoreAccess } from './store-access.ts';
import type { StoreOptions } from './store-access.ts';

describe('the options that name an external store', () => {
  let dir: string;
  const file = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsswarm-store-options-'));
  });
  after(() => rmSync(dir, { recursive: true }));

  const refused = (options: StoreOptions, message: RegExp, environment: Record<string, string> = {}): void =>
    assert.throws(
      () => readStoreAccess(options, environment),
      (error) => {
        assert.ok(isTsswarmError(error, 'INVALID_INPUT'));
        assert.match(error.message, message);
        return true;
      },
    );
  const password = (options: StoreOptions, environment: Record<string, string> = {}) =>
    readStoreAccess(options, environment)?.password;

  it('name none where there are none', () => assert.equal(readStoreAccess({}, {}), undefined));

  it('take the password from the file, else from the environment, else from the URL', () => {
    const storePasswordFile = file('password', 'of the file\n');
    const store = 'etcd://me:url@a';
    assert.equal(password({ store, storePasswordFile }, { TSSWARM_STORE_PASSWORD: 'env' }), 'of the file');
    assert.equal(password({ store }, { TSSWARM_STORE_PASSWORD: 'env' }), 'env');
    assert.equal(password({ store }), 'url');
    assert.equal(password({ store: 'etcd://a' }, { TSSWARM_STORE_PASSWORD: 'env' }), '', 'of nobody');
    refused({ store: 'etcd://me@a' }, /there is no password/);
    refused({ store: 'etcd://a', storePasswordFile }, /names no user/);
    refused({ store, storePasswordFile: join(dir, 'none') }, /none": ENOENT/);
  });

  it('read what the certificate files say', () => {
    const storeCert = file('cert.pem', '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n');
    const storeKey = file('key.pem', '-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n');
    const store = 'etcds://a';
    const access = readStoreAccess({ store, storeCacert: storeCert, storeCert, storeKey }, {});
    assert.match(access?.caCertificate ?? '', /BEGIN CERTIFICATE/);
    assert.match(access?.key ?? '', /EC PRIVATE KEY/);
    refused({ store, storeCert }, /both --store-cert and --store-key/);
    refused({ store, storeCert: storeKey, storeKey: storeCert }, /holds no certificate/);
    refused({ store, storeCert, storeKey: storeCert }, /holds no private key/);
    refused({ store: 'etcd://a', storeCacert: storeCert }, /not spoken to by TLS/);
    refused({ storeCacert: storeCert }, /--store-cacert: it belongs to an external store/);
  });
});

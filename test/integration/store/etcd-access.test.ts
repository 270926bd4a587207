import assert from 'node:assert/strict';
import { systemClock } from '../../../base/clock.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ProjectId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { parseStoreUrl } from '../../../manager/store/etcd/access.ts';
import { connectEtcd } from '../../../manager/store/etcd/client.ts';
import { demandUsable, inspectMembers } from '../../../manager/store/etcd/members.ts';
import { openEtcdStore } from '../../../manager/store/etcd/store.ts';
import type { OpenEtcdStore } from '../../../manager/store/etcd/store.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';
import { makeCertificates } from '../../builders/certificates.ts';
import type { CertificateFiles } from '../../builders/certificates.ts';
import { EtcdCluster } from '../../builders/etcd-cluster.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
/** The first key after all that begin with the prefix. */
const endOf = (prefix: string): string =>
  `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`;

describe('the way to an etcd with TLS and passwords', function () {
  this.timeout(120_000);
  let files: CertificateFiles;
  let cluster: EtcdCluster;
  const opened: OpenEtcdStore[] = [];
  before(async () => {
    files = makeCertificates();
    cluster = await EtcdCluster.start(3, { host: '127.0.0.1', tls: files });
    await cluster.call('auth/user/add', { name: 'root', password: 'r' });
    await cluster.call('auth/role/add', { name: 'root' });
    await cluster.call('auth/user/grant', { user: 'root', role: 'root' });
    await cluster.call('auth/role/add', { name: 'swarm' });
    await cluster.call('auth/role/grant', {
      name: 'swarm',
      perm: { permType: 'READWRITE', key: base64('/own/'), range_end: base64(endOf('/own/')) },
    });
    await cluster.call('auth/role/grant', {
      name: 'swarm',
      perm: { permType: 'READ', key: base64('/readable/'), range_end: base64(endOf('/readable/')) },
    });
    await cluster.call('auth/user/add', { name: 'swarm', password: 'p/w:@1' });
    await cluster.call('auth/user/grant', { user: 'swarm', role: 'swarm' });
    await cluster.call('auth/enable', {});
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ close }) => close()));
  });
  after(async () => {
    await cluster.stop();
    files.remove();
  });

  const access = (change: Partial<EtcdAccess> = {}): EtcdAccess => ({
    ...parseStoreUrl(`etcds://swarm:p%2Fw%3A%401@${cluster.endpoints.join(',')}/own`),
    caCertificate: files.read('ca'),
    certificate: files.read('certificate'),
    key: files.read('key'),
    ...change,
  });
  const open = async (way: EtcdAccess): Promise<OpenEtcdStore> => {
    demandUsable(way, await inspectMembers(way, systemClock));
    const store = await openEtcdStore({
      client: connectEtcd({ ...way, clock: systemClock }),
      prefix: way.prefix,
      id: 'a',
      address: 'a:1',
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      openTimeoutMs: 5_000,
    });
    opened.push(store);
    return store;
  };
  const refuses = (way: EtcdAccess, code: 'PERMISSION_DENIED' | 'UNAVAILABLE', message: RegExp, hint: RegExp) =>
    assert.rejects(open(way), (error) => {
      assert.ok(isTsswarmError(error, code), String(error));
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint);
      return true;
    });
  const write = async ({ store }: OpenEtcdStore, name: string): Promise<void> => {
    await store.update((tx) =>
      tx.create('project', {
        id: name as ProjectId,
        meta: { version: 0, createdAt: 0, updatedAt: 0 },
        name,
        revision: 1,
        hash: '',
        workingDir: '/',
        configFiles: [],
      }),
    );
  };
  const leads = ({ leadership }: OpenEtcdStore): Promise<void> =>
    new Promise((resolve) => {
      leadership.observe((event) => event.kind === 'leader' && event.isSelf && resolve());
      if (leadership.status().ready) resolve();
    });

  it('opens with a certificate, a user and a password, and goes on when members restart and know no tokens', async () => {
    const store = await open(access());
    await leads(store);
    await write(store, 'one');
    for (const member of [0, 1, 2]) {
      await cluster.kill(member);
      await cluster.leader();
      cluster.revive(member);
      await cluster.leader();
    }
    for (let tries = 0; ; tries++) {
      try {
        await write(store, `after${tries}`);
        break;
      } catch (error) {
        // Leadership may be lost over all that; nothing else may.
        if (tries > 20 || !isTsswarmError(error, 'NOT_LEADER')) throw error;
        await leads(store);
      }
    }
  });

  it('opens with a certificate whose name is the user', async () => {
    const store = await open(access({ user: '', password: '', ...files.issue('swarm') }));
    await leads(store);
    await write(store, 'named');
  });

  it('tells each member as it is', async () => {
    const reports = await inspectMembers(access(), systemClock);
    assert.equal(reports.filter(({ leader }) => leader).length, 1);
    for (const { version, problem } of reports) {
      assert.match(version, /^3\./);
      assert.equal(problem, '');
    }
  });

  it('says that the password is wrong, or missing', async () => {
    await refuses(
      access({ password: 'no' }),
      'PERMISSION_DENIED',
      /invalid user ID or password/,
      /--store-password-file/,
    );
    await refuses(
      access({ user: '', password: '' }),
      'PERMISSION_DENIED',
      /user name is empty|permission denied/,
      /etcd:\/\/<user>@/,
    );
  });

  it('says that the user may not use the prefix, also when it may only read it', async () => {
    for (const prefix of ['/other/', '/readable/'])
      await refuses(
        access({ prefix }),
        'PERMISSION_DENIED',
        /permission denied/,
        /grant-permission <role> --prefix=true/,
      );
  });

  it('says what is wrong with TLS', async () => {
    await refuses(access({ caCertificate: '' }), 'UNAVAILABLE', /certificate/, /--store-cacert/);
    await refuses(access({ tls: false }), 'UNAVAILABLE', /no member of etcd can be used/, /begin the URL with etcds:/);
    await refuses(access({ certificate: '', key: '' }), 'UNAVAILABLE', /no member/, /--store-cert and --store-key/);
  });

  it('names every member that does not answer', async () => {
    const [free = ''] = await freePort();
    await refuses(
      access({ endpoints: [`127.0.0.1:${free}`, 'no-such-host.invalid:2379'] }),
      'UNAVAILABLE',
      new RegExp(`127.0.0.1:${free}: connect ECONNREFUSED.*no-such-host.invalid:2379: .*`),
      /start etcd, or check the addresses/,
    );
  });
});

async function freePort(): Promise<string[]> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  server.close();
  return [String(port)];
}

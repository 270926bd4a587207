import type { IOptions } from 'etcd3';
import type { EtcdAccess } from '../../../proto/types/index.ts';

/** Where etcd's members are, and what this side shows them, as the client library takes it. */
export function identification(
  access: Pick<EtcdAccess, 'endpoints'> & Partial<Omit<EtcdAccess, 'endpoints' | 'prefix'>>,
): Pick<IOptions, 'hosts' | 'credentials' | 'auth'> {
  const { endpoints, tls = false, caCertificate = '', certificate = '', key = '', user = '', password = '' } = access;
  const pem = (text: string): Buffer | undefined => (text === '' ? undefined : Buffer.from(text));
  return {
    hosts: endpoints.map((endpoint) => `${tls ? 'https' : 'http'}://${endpoint}`),
    // Without a root, gRPC takes those that Node trusts; the type knows only the other case.
    ...(tls
      ? {
          credentials: {
            rootCertificate: pem(caCertificate),
            privateKey: pem(key),
            certChain: pem(certificate),
          } as NonNullable<IOptions['credentials']>,
        }
      : {}),
    ...(user === '' ? {} : { auth: { username: user, password } }),
  };
}

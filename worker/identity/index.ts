/** Who the node is: joining a cluster, the certificate on disk, its renewal. */
export { obtainIdentity, renewIdentity } from './client.ts';
export type { CaClient, JoinOptions } from './client.ts';
export { identityDisk } from './disk.ts';
export type { IdentityDisk, KeyProtection } from './disk.ts';
export { keepIdentity } from './loop.ts';
export type { IdentityKeeper, KeepIdentityOptions } from './loop.ts';
export { createCertificateRequest } from './request.ts';
export type { CertificateRequest } from './request.ts';

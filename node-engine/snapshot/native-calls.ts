import { lgetxattr, llistxattr, lsetxattr, lutimes, mknod } from '../native/addon.ts';
import type { KernelCalls } from './kernel-calls.ts';

/** The native addon's calls, as this room asks for them. */
export const kernelCalls: KernelCalls = { mknod, lsetxattr, lgetxattr, llistxattr, lutimes };

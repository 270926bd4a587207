import { TsswarmError } from '../../base/errors.ts';
import { AARCH64_SYSCALLS } from './syscalls-aarch64.ts';
import { X86_64_SYSCALLS } from './syscalls-x86-64.ts';

/** The system calls of one architecture. */
export interface SyscallTable {
  /** Go's name, which profiles use in `arches`: "amd64". */
  readonly architecture: string;
  /** What the kernel gives a filter as `seccomp_data.arch`; AUDIT_ARCH_* of include/uapi/linux/audit.h. */
  readonly auditArch: number;
  readonly numbers: ReadonlyMap<string, number>;
  /** The highest number that has a name here. */
  readonly newest: number;
}

const tables = new Map<string, SyscallTable>();

/**
 * The table of an architecture by its Go name, made at the first use.
 * @throws NOT_SUPPORTED for an architecture without one
 */
export function syscallTable(architecture: string): SyscallTable {
  const known = tables.get(architecture);
  if (known) return known;
  const table = makeTable(architecture);
  tables.set(architecture, table);
  return table;
}

function makeTable(architecture: string): SyscallTable {
  if (architecture === 'amd64') return { architecture, auditArch: 0xc000003e, ...parse(X86_64_SYSCALLS) };
  if (architecture === 'arm64') return { architecture, auditArch: 0xc00000b7, ...parse(AARCH64_SYSCALLS) };
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `compiling a seccomp profile for "${architecture}": there is no table of its system calls, expected amd64 or arm64`,
    { hint: 'run the container with the security option "seccomp=unconfined"' },
  );
}

function parse(text: string): Pick<SyscallTable, 'numbers' | 'newest'> {
  const numbers = new Map<string, number>();
  let next = 0;
  for (const word of text.trim().split(/\s+/)) {
    if (word.endsWith(':')) next = Number(word.slice(0, -1));
    else numbers.set(word, next++);
  }
  return { numbers, newest: next - 1 };
}

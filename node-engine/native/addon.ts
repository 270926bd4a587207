/**
 * The typed door of the native addon: the system calls that Node lacks. Errors are `Error`s as Node's own file system
 * throws them: `code` is the errno's name ("ENOENT"), beside `errno`, `syscall` and, where there is one, `path`.
 * Paths may be Buffers: file names need not be UTF-8.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { getSystemErrorMap } from 'node:util';

type Path = string | Buffer;

interface NetnsReply {
  readonly error: number;
  readonly stage: string;
  readonly replies: readonly Buffer[];
}

interface ChangeReply {
  readonly error: number;
  readonly at: number;
  readonly stage: string;
  readonly before: readonly string[];
}

interface ProgramReply extends ProgramEnd {
  readonly error: number;
}

interface Native {
  mount(source: Path, target: Path, fstype: string, flags: number, data: string): number;
  umount(path: Path, flags: number): number;
  mknod(path: Path, mode: number, major: number, minor: number): number;
  lsetxattr(path: Path, name: string, value: Buffer, flags: number): number;
  lgetxattr(path: Path, name: string): Buffer | number;
  llistxattr(path: Path): Buffer | number;
  lremovexattr(path: Path, name: string): number;
  lutimes(path: Path, accessNs: bigint, modifyNs: bigint): number;
  flock(fd: number, operation: number): number;
  syncfs(path: Path): Promise<number>;
  netns(path: string, create: boolean, sysctls: Buffer, steps: readonly NetlinkStep[]): Promise<NetnsReply | number>;
  socket(path: string, kind: number, ip: string, port: number): Promise<BoundSocket | number>;
  runProgram(
    path: string,
    argv: readonly string[],
    envp: readonly string[],
    input: Buffer | undefined,
  ): Promise<ProgramReply | number>;
  startProgram(
    path: string,
    argv: readonly string[],
    envp: readonly string[],
    streams: string,
  ):
    { readonly pid: number; readonly fds: readonly number[]; readonly ended: Promise<ProgramStatus | number> } | number;
  changeContainer(pid: number, changes: readonly NativeChange[]): Promise<ChangeReply | number>;
  setProcessLimit(pid: number, resource: number, soft: number, hard: number): number;
  deviceProgramTag(rules: string): string | number;
  attachedDeviceProgram(cgroup: string): string | number;
  attachDeviceProgram(cgroup: string, rules: string): number;
  watchOpen(others: number): { readonly socket: number; readonly cancel: number } | number;
  watchWait(socket: number, cancel: number, others: number): Promise<RuleEvents & { readonly error: number }>;
  watchCancel(cancel: number): number;
  exit(code: number): void;
  bootTime(): number;
  trimMemory(): number;
  releaseProgram(): number;
}

/** mount(2) flags. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  REMOUNT: 32,
  NOATIME: 1024,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
} as const;

/** umount2(2) flags. */
export const MNT = { FORCE: 1, DETACH: 2, EXPIRE: 4 } as const;
export const UMOUNT_NOFOLLOW = 8;

/** Type bits of a mode, for `mknod`. */
export const S_IFMT = { FIFO: 0o010000, CHARACTER: 0o020000, BLOCK: 0o060000, SOCKET: 0o140000 } as const;

/** mount(2). @param flags of {@link MS} @param data file-system options, e.g. "mode=755,size=64k" */
export function mount(source: Path, target: Path, fstype = '', flags = 0, data = ''): void {
  check(native().mount(source, target, fstype, flags, data), 'mount', target);
}

/** umount2(2). @param flags of {@link MNT} */
export function umount(path: Path, flags = 0): void {
  check(native().umount(path, flags), 'umount2', path);
}

/** mknod(2); the mode is set exactly, whatever the umask. @param mode permission bits and one of {@link S_IFMT} */
export function mknod(path: Path, mode: number, major = 0, minor = 0): void {
  check(native().mknod(path, mode, major, minor), 'mknod', path);
}

/** Sets an extended attribute; a symbolic link is not followed. */
export function lsetxattr(path: Path, name: string, value: Uint8Array | string): void {
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value);
  check(native().lsetxattr(path, name, bytes, 0), 'lsetxattr', path);
}

/** The value of an extended attribute, or undefined where there is none. */
export function lgetxattr(path: Path, name: string): Buffer | undefined {
  const value = native().lgetxattr(path, name);
  if (typeof value !== 'number') return value;
  const error = systemError(value, 'lgetxattr', path);
  if (error.code === 'ENODATA' || error.code === 'ENOTSUP') return undefined;
  throw error;
}

/** Names of the extended attributes; none where the file system has no such thing. */
export function llistxattr(path: Path): readonly string[] {
  const names = native().llistxattr(path);
  if (typeof names !== 'number') return names.toString().split('\0').slice(0, -1);
  const error = systemError(names, 'llistxattr', path);
  if (error.code === 'ENOTSUP') return [];
  throw error;
}

export function lremovexattr(path: Path, name: string): void {
  check(native().lremovexattr(path, name), 'lremovexattr', path);
}

/** Sets access and modification time in nanoseconds since the epoch; a symbolic link is not followed. */
export function lutimes(path: Path, accessNs: bigint, modifyNs: bigint): void {
  check(native().lutimes(path, accessNs, modifyNs), 'utimensat', path);
}

/** Writes everything of the file system that holds `path` to the disk. */
export async function syncfs(path: Path): Promise<void> {
  check(await native().syncfs(path), 'syncfs', path);
}

/** Milliseconds since the boot, those in which the machine was suspended included (CLOCK_BOOTTIME). */
export const bootTime = (): number => native().bootTime();

/** Gives memory back that the C library's allocator holds for later: whole free pages between what is in use (malloc_trim(3)). */
export const trimMemory = (): boolean => native().trimMemory() === 1;

/**
 * Takes the pages of Node's own program file out of this process (madvise(2), MADV_DONTNEED): two thirds of those that are mapped when it has
 * started were for starting. What is used comes back from the page cache.
 * @returns bytes of address space that this was done for
 */
export const releaseProgram = (): number => native().releaseProgram();

const LOCK_EX = 2;

/**
 * Takes the exclusive lock on a file (made if missing), which the kernel gives back when the process ends, however it ends.
 * @returns the function that gives the lock back, or undefined if another process holds it
 */
export function lockFile(path: string): (() => void) | undefined {
  const fd = openSync(path, 'a', 0o600);
  const result = native().flock(fd, LOCK_EX);
  if (result === 0) return () => closeSync(fd);
  closeSync(fd);
  const error = systemError(result, 'flock', path);
  if (error.code === 'EAGAIN') return undefined;
  throw error;
}

/**
 * When a process was started, in clock ticks since boot (field 22 of /proc/PID/stat): with the pid it names a process for
 * good, the pid alone is given out again. Undefined if there is no such process (or only its zombie).
 */
export function processStartTime(pid: number): bigint | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The second field is the command in brackets and may hold anything, brackets and blanks too.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const started = fields[19];
  return started === undefined || state === 'Z' || state === 'X' ? undefined : BigInt(started);
}

// ---------------------------------------------------------------------------------------------- network

export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;

/** One netlink request: one or more messages, sent at once. */
export interface NetlinkStep {
  /** In the caller's namespace, although the job is for another. */
  readonly outside: boolean;
  readonly protocol: typeof NETLINK_ROUTE | typeof NETLINK_SOCK_DIAG | typeof NETLINK_NETFILTER;
  readonly request: Buffer;
}

export interface NetnsJob {
  /** File of the namespace; empty: the process's own. */
  readonly path: string;
  /** Make the namespace and bind it to `path`, which must not exist. */
  readonly create?: boolean;
  /** Written inside before the steps: key with slashes ("net/ipv4/ip_forward"), a leading "-" allows its absence. */
  readonly sysctls?: readonly (readonly [key: string, value: string])[];
  readonly steps?: readonly NetlinkStep[];
}

/**
 * Works inside a network namespace, on a thread of its own.
 * @returns what the kernel answered to each step, as it came: errors of single messages are in there
 */
export async function inNetns(job: NetnsJob): Promise<readonly Buffer[]> {
  const sysctls = Buffer.from((job.sysctls ?? []).map(([key, value]) => `${key}\0${value}\0`).join(''));
  const reply = await native().netns(job.path, job.create ?? false, sysctls, job.steps ?? []);
  if (typeof reply === 'number') throw systemError(reply, 'pthread_create');
  if (reply.error !== 0) throw systemError(reply.error, reply.stage, job.path);
  return reply.replies;
}

const SOCKET_KINDS = { udp: 0, 'tcp-listen': 1, 'tcp-reserve': 2, 'sctp-reserve': 3 } as const;

export interface BoundSocket {
  readonly error: number;
  readonly fd: number;
  /** As bound: the kernel's choice if 0 was asked for. */
  readonly port: number;
}

/**
 * Opens a socket and binds it inside a network namespace. "tcp-reserve" holds the port against every other process and
 * refuses connections.
 * @param netns file of the namespace; empty: the process's own
 * @returns the descriptor, which the caller closes, and the port
 * @throws EADDRINUSE, EADDRNOTAVAIL, …
 */
export async function bindSocket(
  netns: string,
  kind: keyof typeof SOCKET_KINDS,
  ip: string,
  port: number,
): Promise<BoundSocket> {
  const bound = await native().socket(netns, SOCKET_KINDS[kind], ip, port);
  if (typeof bound === 'number') throw systemError(bound, 'pthread_create');
  if (bound.error !== 0) throw systemError(bound.error, 'bind', `${ip}:${port}`);
  return bound;
}

// ---------------------------------------------------------------------------------------------- programs

/** How a program ended. */
export interface ProgramStatus {
  /** Exit code; -1 when a signal ended it. */
  readonly code: number;
  /** Number of the signal that ended it; 0: none did. */
  readonly signal: number;
}

/** The same, and what it wrote: the first MiB of each. */
export interface ProgramEnd extends ProgramStatus {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/**
 * Runs a program to its end, and until nobody holds its output open any more. Costs the calling thread next to nothing, however
 * large the process is: Node's own spawn copies the page tables of all of it, here a thread shares them with the program until that is
 * executed (posix_spawn(3)).
 * @param program path, or a name that is looked for in the PATH of this process
 * @param options.env the whole environment; default: that of this process
 * @param options.input what it reads; default: nothing
 * @throws ENOENT, EACCES, ENOMEM, … when it could not be started
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string | undefined>>; readonly input?: string } = {},
): Promise<ProgramEnd> {
  const { env = process.env, input } = options;
  const variables = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const bytes = input === undefined ? undefined : Buffer.from(input);
  const reply = await native().runProgram(program, [program, ...args], variables, bytes);
  if (typeof reply === 'number') throw systemError(reply, 'pthread_create');
  if (reply.error !== 0) throw systemError(reply.error, 'posix_spawn', program);
  return reply;
}

/** A program that goes on beside this process. */
export interface StartedProgram {
  /** Nobody else's until `ended` is known. */
  readonly pid: number;
  /** Of this process, which closes them: the other ends of the program's sockets, by its numbers; -1: it has nothing there. */
  readonly fds: readonly number[];
  /** This process may end before. */
  readonly ended: Promise<ProgramStatus>;
}

/**
 * Starts a program with an empty environment, by posix_spawn(3) as {@link runProgram}; returns when it is executed.
 * @param streams what its descriptors from 0 on are: a socket to this process, or nothing
 * @throws ENOENT, EACCES, ENOMEM, EMFILE, …
 */
export function startProgram(
  program: string,
  args: readonly string[],
  streams: readonly ('socket' | 'nothing')[],
): StartedProgram {
  const kinds = streams.map((kind) => (kind === 'socket' ? 's' : '-')).join('');
  const started = native().startProgram(program, [program, ...args], [], kinds);
  if (typeof started === 'number') throw systemError(started, 'posix_spawn', program);
  const { pid, fds } = started;
  const ended = started.ended.then((status) => {
    if (typeof status === 'number') throw systemError(status, 'pthread_create');
    return status;
  });
  return { pid, fds, ended };
}

// ---------------------------------------------------------------------------------------------- running containers

/** In the order of `enum kind` in addon/container.c. */
const CONTAINER_CHANGES = [
  'bind',
  'tmpfs',
  'detach',
  'attributes',
  'resize',
  'make-node',
  'remove-node',
  'sysctl',
  'hostname',
  'domainname',
  'read-sysctl',
  'read-names',
] as const;

/** mount_setattr(2) attributes. */
export const MOUNT_ATTR = { RDONLY: 1, NOSUID: 2, NODEV: 4, NOEXEC: 8 } as const;

/** One change inside a container's namespaces. */
export interface ContainerChange {
  /**
   * `bind`: what is at `value` on the node appears at `target`, in place of what is mounted there; `tmpfs`: a new one, with options
   * `value`; `detach`: nothing is mounted at `target` any more; `attributes` of the mount at `target`; `resize` a tmpfs to `value`
   * bytes; `sysctl`: `target` is its key with slashes; `hostname`, `domainname`. `make-node`: a device at `target`, described by `value` ("c 1 3 666 0 0": type, numbers,
   * mode, owner); `remove-node`: no device is there. `read-sysctl` and `read-names` change nothing
   * (see {@link readContainer}).
   */
  readonly kind: (typeof CONTAINER_CHANGES)[number];
  readonly target: string;
  readonly value: string;
  /** Of {@link MOUNT_ATTR}. */
  readonly set?: number;
  readonly clear?: number;
  /** A propagation of {@link MS}; absent: as it is. */
  readonly propagation?: number;
  /** The propagation is that of all mounts below, too. */
  readonly recursive?: boolean;
}

type NativeChange = Omit<ContainerChange, 'kind' | 'recursive'> & { readonly kind: number; readonly recursive: number };

/** `change` is the one that failed; `before` is what sysctls were that were set before it. */
export interface ContainerChangeError extends NodeJS.ErrnoException {
  readonly change: ContainerChange;
  readonly before: readonly string[];
}

/**
 * Changes a running container from inside its namespaces, on a thread of its own.
 * @param pid a process of it
 * @returns what each sysctl was before, or what was read; empty for other changes
 * @throws ContainerChangeError
 */
export async function changeContainer(pid: number, changes: readonly ContainerChange[]): Promise<readonly string[]> {
  const reply = await native().changeContainer(
    pid,
    changes.map((change) => ({
      ...change,
      kind: CONTAINER_CHANGES.indexOf(change.kind),
      recursive: change.recursive === true ? 1 : 0,
    })),
  );
  if (typeof reply === 'number') throw systemError(reply, 'pthread_create');
  const { error, stage, at, before } = reply;
  if (error === 0) return before.map((text) => text.trim());
  const change = changes[at] ?? changes[0];
  throw Object.assign(systemError(error, stage, change?.target), { change, before });
}

/** What a container's own namespaces say. */
export interface ContainerReading {
  readonly hostname: string;
  readonly domainname: string;
  /** In the order of the question; empty: there is none, or it cannot be read. */
  readonly sysctls: readonly string[];
}

/**
 * Looks into the namespaces of a running container, on a thread of its own. @param pid a process of it
 * @param sysctls keys with slashes
 */
export async function readContainer(pid: number, sysctls: readonly string[]): Promise<ContainerReading> {
  const [names = '', ...values] = await changeContainer(pid, [
    { kind: 'read-names', target: '', value: '' },
    ...sysctls.map((target): ContainerChange => ({ kind: 'read-sysctl', target, value: '' })),
  ]);
  const [hostname = '', domainname = ''] = names.split('\n');
  return { hostname, domainname, sysctls: values };
}

/** Limits one process (prlimit(2)). @param resource number of the limit in <bits/resource.h> @param soft -1: none */
export function setProcessLimit(pid: number, resource: number, soft: number, hard: number): void {
  check(native().setProcessLimit(pid, resource, soft, hard), 'prlimit', String(pid));
}

/** A right to devices that is given or taken; later rules count more than earlier ones. */
export interface DeviceRule {
  readonly allow: boolean;
  /** a: all kinds. */
  readonly type: 'a' | 'b' | 'c';
  /** -1: every number. */
  readonly major: number;
  readonly minor: number;
  /** Of r, w, m. */
  readonly access: string;
}

/**
 * Tag of the program that these rules are where version 2 of the control groups keeps them in one: the same for the same rules. What the
 * launcher adds behind the first "deny all" is added here, too.
 * @throws EPERM, EINVAL, ENOSYS: this kernel takes no such program from this process
 */
export function deviceProgramTag(rules: readonly DeviceRule[]): string {
  const tag = native().deviceProgramTag(rulesText(rules));
  if (typeof tag === 'number') throw systemError(tag, 'bpf');
  return tag;
}

/**
 * Tag of the rules for devices that the launcher, or {@link attachDeviceProgram}, has given a control group of version 2.
 * @returns undefined: it has none
 * @throws ENOTDIR: there is no such group; EPERM, EINVAL, ENOSYS
 */
export function attachedDeviceProgram(cgroup: string): string | undefined {
  const tag = native().attachedDeviceProgram(cgroup);
  if (typeof tag === 'string') return tag;
  const error = systemError(tag, 'bpf', cgroup);
  if (error.code === 'ENOENT') return undefined;
  throw error;
}

/** Gives a control group of version 2 other rules for devices: from one moment to the next, all of them. @throws as the others */
export function attachDeviceProgram(cgroup: string, rules: readonly DeviceRule[]): void {
  check(native().attachDeviceProgram(cgroup, rulesText(rules)), 'bpf', cgroup);
}

const rulesText = (rules: readonly DeviceRule[]): string =>
  rules
    .map(({ allow, type, major, minor, access }) => `${allow ? '+' : '-'} ${type} ${major} ${minor} ${access}\n`)
    .join('');

/** What was heard of changes to the rules. */
export interface RuleEvents {
  /** Netlink messages, one after another, of other namespaces as {@link watchRules} says; none, and none lost: the watch was closed. */
  readonly events: Buffer;
  /** There were too many: some are missing. */
  readonly lost: boolean;
}

/**
 * Hears of every transaction of nf_tables in the process's own network namespace, from now on.
 * @param others in all other namespaces instead that this one has numbered, but not of what this process did there. Before the messages
 *   of each stand the namespace's number and the length of the messages, of 32 bits each
 * @throws a system error
 */
export function watchRules(others = false): {
  /** Resolves with the next ones. */
  next(): Promise<RuleEvents>;
  /** The last `next` resolves, without events. Nothing may be asked afterwards. */
  close(): Promise<void>;
} {
  const opened = native().watchOpen(others ? 1 : 0);
  if (typeof opened === 'number') throw systemError(opened, 'socket');
  const { socket, cancel } = opened;
  let running: Promise<unknown> = Promise.resolve();
  return {
    async next() {
      const waiting = native().watchWait(socket, cancel, others ? 1 : 0);
      running = waiting;
      const { error, ...heard } = await waiting;
      if (error !== 0) throw systemError(error, 'recv');
      return heard;
    },
    async close() {
      native().watchCancel(cancel);
      await running.catch(() => undefined);
      closeSync(socket);
      closeSync(cancel);
    },
  };
}

// ---------------------------------------------------------------------------------------------- loading, errors

/**
 * Ends the process now (_exit(2)): nothing of Node's is taken down, no handler runs. Node's own end waits for its compiler
 * threads, and one of those may wait for a garbage collection of the main thread: seen to hang about once in 300 ends (24.21).
 * What has to be written must have been written. Without the addon (not built yet) it is `process.exit`.
 */
export function exitNow(code: number): never {
  try {
    native().exit(code);
  } catch {
    // Not built: the slow way.
  }
  process.exit(code);
}

let loaded: Native | undefined;

/** Loaded at first use: importing this file needs no build. */
function native(): Native {
  loaded ??= createRequire(import.meta.filename)(addonPath()) as Native;
  return loaded;
}

/** Beside this file in the sources; the compiled file lies in dist/ and shares the sources' build folder. */
function addonPath(): string {
  const here = import.meta.dirname;
  const inBuild = here.endsWith(join('dist', 'node-engine', 'native'));
  // dist/bundle holds the commands, each in one file.
  const root = inBuild ? join(here, '..', '..', '..') : join(here, '..', '..');
  return join(root, 'node-engine', 'native', 'build', 'tsswarm.node');
}

function check(result: number, syscall: string, path: Path): void {
  if (result < 0) throw systemError(result, syscall, path);
}

/** Node's map lacks what libuv does not know (EDQUOT, ESTALE); its constants have most of them. */
function rareErrno(errno: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `E${errno}`;
}

function systemError(errno: number, syscall: string, path?: Path): NodeJS.ErrnoException {
  const [name, text] = getSystemErrorMap().get(errno) ?? [rareErrno(-errno), 'system error'];
  const where = path === undefined || path.length === 0 ? '' : ` '${path.toString()}'`;
  const error: NodeJS.ErrnoException = new Error(`${name}: ${text}, ${syscall}${where}`);
  Object.assign(error, { code: name, errno, syscall, ...(path === undefined ? {} : { path: path.toString() }) });
  return error;
}

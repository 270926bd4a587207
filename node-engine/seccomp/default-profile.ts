import type { Action, ArgumentRule, Condition, SeccompProfile, SyscallRule } from './profile.ts';

const EPERM = 1;
const ENOSYS = 38;
const ALWAYS: Condition = { capabilities: [], architectures: [] };
const ALLOW: Action = { kind: 'allow' };

/** CLONE_NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWNS: the namespaces that clone can make; clone(2). */
const CLONE_NAMESPACES = 0x7e02_0000n;
const AF_VSOCK = 40n;
/** PER_LINUX, PER_LINUX32, both with UNAME26 (0x20000), and the question for the present one; personality(2). */
const PERSONALITIES = [0x0n, 0x8n, 0x2_0000n, 0x2_0008n, 0xffff_ffffn];

/** Calls that no capability guards and no container may misuse, by what they are about. */
const UNCONDITIONAL: readonly string[] = [
  // files by path
  'access creat faccessat faccessat2 link linkat mkdir mkdirat mknod mknodat open openat openat2 readlink readlinkat',
  'rename renameat renameat2 rmdir symlink symlinkat unlink unlinkat truncate name_to_handle_at chdir fchdir getcwd',
  'chmod chown fchmod fchmodat fchmodat2 fchown fchownat lchown umask',
  'fstat lstat newfstatat stat statx fstatfs statfs utime utimes utimensat futimesat',
  'fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr',
  'removexattr setxattr getxattrat listxattrat removexattrat setxattrat',
  // open files
  'close close_range dup dup2 dup3 fcntl flock ioctl lseek pipe pipe2 ftruncate fallocate fadvise64 readahead',
  'read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 getdents getdents64',
  'copy_file_range sendfile splice tee vmsplice fsync fdatasync sync syncfs sync_file_range cachestat',
  'inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark',
  'io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents',
  // waiting for events
  'epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old',
  'poll ppoll select pselect6 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime',
  // memory
  'brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync',
  'munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack',
  // processes and threads
  'execve execveat exit exit_group fork vfork wait4 waitid getpid getppid gettid getpgid getpgrp setpgid getsid setsid',
  'futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list set_robust_list rseq set_tid_address',
  'get_thread_area set_thread_area getcpu prctl process_mrelease restart_syscall times getrusage uretprobe',
  'pidfd_open pidfd_send_signal kill tkill tgkill pause alarm',
  'rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait',
  'rt_tgsigqueueinfo sigaltstack',
  // scheduling and limits
  'sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler',
  'sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield',
  'getpriority setpriority ioprio_get ioprio_set getrlimit setrlimit prlimit64',
  // identity and rights
  'getuid geteuid getgid getegid getgroups getresuid getresgid setuid setgid setgroups setreuid setregid setresuid',
  'setresgid setfsuid setfsgid capget capset seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self',
  // sockets and System V and POSIX messages
  'accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg',
  'sendto setsockopt shutdown socketpair msgctl msgget msgrcv msgsnd semctl semget semop semtimedop',
  'shmat shmctl shmdt shmget mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink',
  // time and the system; those that set the clock check CAP_SYS_TIME themselves
  'adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep getitimer setitimer gettimeofday nanosleep time',
  'timer_create timer_delete timer_getoverrun timer_gettime timer_settime getrandom sysinfo uname',
];

/** Calls that a capability of the container opens. */
const BY_CAPABILITY: readonly (readonly [capability: string, names: string])[] = [
  ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
  [
    'CAP_SYS_ADMIN',
    'bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules ' +
      'lsm_set_self_attr listmount mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl ' +
      'quotactl_fd setdomainname sethostname setns statmount syslog umount2 unshare',
  ],
  ['CAP_SYS_BOOT', 'reboot'],
  ['CAP_SYS_CHROOT', 'chroot'],
  ['CAP_SYS_MODULE', 'delete_module finit_module init_module'],
  ['CAP_SYS_PACCT', 'acct'],
  ['CAP_SYS_PTRACE', 'kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace'],
  ['CAP_SYS_RAWIO', 'ioperm iopl'],
  ['CAP_SYS_TIME', 'clock_settime settimeofday'],
  ['CAP_SYS_TTY_CONFIG', 'vhangup'],
  ['CAP_SYS_NICE', 'get_mempolicy mbind set_mempolicy set_mempolicy_home_node'],
  ['CAP_SYSLOG', 'syslog'],
  ['CAP_BPF', 'bpf'],
  ['CAP_PERFMON', 'perf_event_open'],
];

function rule(names: string, more: Partial<Omit<SyscallRule, 'names'>> = {}): SyscallRule {
  return { names: names.split(' '), action: ALLOW, args: [], includes: ALWAYS, excludes: ALWAYS, ...more };
}

function firstArgument(operator: ArgumentRule['operator'], value: bigint, valueTwo = 0n): readonly ArgumentRule[] {
  return [{ index: 0, operator, value, valueTwo }];
}

/**
 * What Docker's default profile lets a container do, and a little less: io_uring is refused, as Docker does since 25.0, and
 * AF_VSOCK also when the unused upper half of the argument is not zero. Everything that is not here fails with EPERM.
 */
export const DEFAULT_PROFILE: SeccompProfile = {
  defaultAction: { kind: 'errno', data: EPERM },
  rules: [
    ...UNCONDITIONAL.map((names) => rule(names)),
    rule('arch_prctl modify_ldt', { includes: { capabilities: [], architectures: ['amd64'] } }),
    // Before 4.8 a tracer could change a call after the filter had passed it.
    rule('process_vm_readv process_vm_writev ptrace', {
      includes: { capabilities: [], architectures: [], minKernel: { major: 4, minor: 8 } },
    }),
    // The kernel takes the family as an int.
    rule('socket', {
      action: { kind: 'errno', data: EPERM },
      args: firstArgument('masked-eq', 0xffff_ffffn, AF_VSOCK),
    }),
    rule('socket'),
    ...PERSONALITIES.map((persona) => rule('personality', { args: firstArgument('eq', persona) })),
    ...BY_CAPABILITY.map(([capability, names]) =>
      rule(names, { includes: { capabilities: [capability], architectures: [] } }),
    ),
    rule('clone', {
      args: firstArgument('masked-eq', CLONE_NAMESPACES),
      excludes: { capabilities: ['CAP_SYS_ADMIN'], architectures: [] },
    }),
    // A filter cannot look at the flags behind its pointer; ENOSYS makes the C library use clone.
    rule('clone3', {
      action: { kind: 'errno', data: ENOSYS },
      excludes: { capabilities: ['CAP_SYS_ADMIN'], architectures: [] },
    }),
    // Programs that meet ENOSYS use the ioctls, which are allowed.
    rule('file_getattr file_setattr', { action: { kind: 'errno', data: ENOSYS } }),
  ],
};

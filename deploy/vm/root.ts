import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { copyFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Raised when the way the root is made changes: the one of the way before is made again. */
const ROOT_VERSION = 4;
const SUITE = 'bookworm';
const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'linux-image-amd64', 'udev', 'kmod', 'dbus'],
  ...['nftables', 'iproute2', 'procps', 'iputils-ping', 'conntrack', 'busybox-static', 'util-linux', 'curl'],
  ...['wireguard-tools', 'tcpdump'],
  // For the programs that tests compile.
  ...['gcc', 'libc6-dev'],
];
/** Where the project's disk is mounted in the guest. */
export const GUEST_PROJECT = '/opt/tsswarm';

/** Started in place of systemd where no suite needs that: under emulation it takes minutes to come up. */
export const BARE_INIT = '/usr/local/sbin/guest-init';
const BARE_INIT_SCRIPT = `#!/bin/sh
# The kernel's own file systems are mounted by the initramfs; what else systemd would mount, and a reaper as process 1.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export PATH HOME
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=000 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o nosuid,nodev tmpfs /tmp
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate cgroup2 /sys/fs/cgroup
mount --make-rshared /
hostname tsswarm-vm
ip link set lo up
mount LABEL=project ${GUEST_PROJECT}
exec ${GUEST_PROJECT}/node-engine/native/build/tsrun init -- ${GUEST_PROJECT}/test/vm/guest/run
`;

/** What qemu boots. */
export interface GuestRoot {
  /** An ext4 file system; it is only read, qemu keeps what the guest writes elsewhere. */
  readonly image: string;
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * A Debian root with systemd and Debian's kernel as a disk image below `cacheDir`, from the apt sources of this machine.
 * Made once: one that is up to date is taken as it is. Needs root, mmdebstrap and mke2fs.
 * @throws when mmdebstrap fails; its own message is kept
 */
export function makeGuestRoot(cacheDir: string): GuestRoot {
  const made: GuestRoot = {
    image: join(cacheDir, 'root.img'),
    kernel: join(cacheDir, 'vmlinuz'),
    initrd: join(cacheDir, 'initrd.img'),
  };
  const stampPath = join(cacheDir, 'root.stamp');
  const stamp = createHash('sha256')
    .update(JSON.stringify([ROOT_VERSION, SUITE, PACKAGES, BARE_INIT_SCRIPT]))
    .digest('hex');
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp) return made;
  rmSync(stampPath, { force: true });
  mkdirSync(cacheDir, { recursive: true });
  const work = mkdtempSync(join(cacheDir, 'work-'));
  try {
    const root = join(work, 'root');
    run('mmdebstrap', [
      '--quiet',
      '--variant=minbase',
      `--include=${PACKAGES.join(',')}`,
      SUITE,
      root,
      ...aptSources(),
    ]);
    configure(root);
    const boot = readdirSync(join(root, 'boot'));
    for (const [prefix, target] of [
      ['vmlinuz-', made.kernel],
      ['initrd.img-', made.initrd],
    ] as const) {
      const name = boot.find((one) => one.startsWith(prefix));
      if (name === undefined) throw new Error(`making the guest's root: "${prefix}*" is missing in its /boot`);
      copyFileSync(join(root, 'boot', name), target);
    }
    makeDisk(root, join(work, 'root.img'), '3G', 'root');
    renameSync(join(work, 'root.img'), made.image);
    writeFileSync(stampPath, stamp);
    return made;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** An ext4 file system in a (sparse) file that holds what is in a folder. */
export function makeDisk(folder: string, image: string, size: string, label: string): void {
  rmSync(image, { force: true });
  run('mke2fs', ['-q', '-t', 'ext4', '-L', label, '-E', 'lazy_itable_init=1', '-d', folder, image, size]);
}

function configure(root: string): void {
  writeFileSync(
    join(root, 'etc/fstab'),
    `LABEL=root / ext4 defaults 0 0\nLABEL=project ${GUEST_PROJECT} ext4 defaults 0 0\n`,
  );
  writeFileSync(join(root, 'etc/hostname'), 'tsswarm-vm\n');
  writeFileSync(join(root, 'etc/hosts'), '127.0.0.1 localhost\n127.0.1.1 tsswarm-vm\n');
  writeFileSync(join(root, 'etc/resolv.conf'), '');
  writeFileSync(join(root, 'etc/machine-id'), '');
  mkdirSync(join(root, GUEST_PROJECT), { recursive: true });
  writeFileSync(
    join(root, 'etc/systemd/system/guest-tests.service'),
    `[Unit]
Description=tests of the project in this guest
RequiresMountsFor=${GUEST_PROJECT}
After=multi-user.target

[Service]
Environment=HOME=/root
# The tests start containers outside this unit and end by themselves.
KillMode=process
ExecStart=${GUEST_PROJECT}/test/vm/guest/run
`,
  );
  writeFileSync(join(root, BARE_INIT), BARE_INIT_SCRIPT, { mode: 0o755 });
  // Not of multi-user.target: it comes after it, so that the boot has ended when the tests begin.
  const wants = join(root, 'etc/systemd/system/graphical.target.wants');
  mkdirSync(wants, { recursive: true });
  symlinkSync('../guest-tests.service', join(wants, 'guest-tests.service'));
}

function aptSources(): readonly string[] {
  const found = ['/etc/apt/sources.list', '/etc/apt/sources.list.d/debian.sources'].filter((path) => existsSync(path));
  if (found.length === 0) throw new Error('making the guest\'s root: no apt sources of Debian in "/etc/apt"');
  return found;
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, LC_ALL: 'C' } });
}

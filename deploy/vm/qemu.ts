import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import type { GuestRoot } from './root.ts';

/** One virtual machine. */
export interface GuestOptions {
  readonly root: GuestRoot;
  /** The project's disk: the second one. */
  readonly projectDisk: string;
  /** The third one, with the project's packages. It is only read. */
  readonly modulesDisk: string;
  /** Program that is process 1 of the guest; absent: systemd. */
  readonly init?: string;
  /** Files that take what the guest writes to its first serial line (the console) and to its second one. */
  readonly consolePath: string;
  readonly resultsPath: string;
  /** It is killed after this long. */
  readonly limitMs: number;
}

/** How a virtual machine came to its end. */
export interface GuestEnd {
  readonly how: 'powered off' | 'out of time' | 'qemu failed';
  readonly detail: string;
}

/**
 * Hardware help where it can be relied upon: on a machine that is no virtual one itself (within one, a /dev/kvm may be there and
 * a guest never gets through its first instructions). `TSSWARM_VM_ACCEL=kvm` or `tcg` decides otherwise.
 */
export function accelerator(): 'kvm' | 'tcg' {
  const asked = process.env['TSSWARM_VM_ACCEL'];
  if (asked === 'kvm' || asked === 'tcg') return asked;
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return /^flags\s.*\bhypervisor\b/m.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'tcg' : 'kvm';
  } catch {
    return 'tcg';
  }
}

/** Boots a guest without any network device and waits until it has powered itself off, or kills it. */
export async function runGuest(options: GuestOptions): Promise<GuestEnd> {
  const accelerate =
    accelerator() === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi', '-cpu', 'max,-pku'];
  const init = options.init === undefined ? '' : ` init=${options.init}`;
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...accelerate,
      ...['-smp', '2', '-m', '3072', '-nic', 'none', '-display', 'none', '-no-reboot', '-nodefaults'],
      ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
      ...['-drive', `file=${options.root.image},format=raw,if=virtio,snapshot=on`],
      ...['-drive', `file=${options.projectDisk},format=raw,if=virtio,cache=unsafe`],
      ...['-drive', `file=${options.modulesDisk},format=raw,if=virtio,readonly=on`],
      ...['-kernel', options.root.kernel, '-initrd', options.root.initrd],
      ...['-append', `root=LABEL=root rw console=ttyS0 panic=1 systemd.show_status=1${init}`],
      ...['-serial', `file:${options.consolePath}`, '-serial', `file:${options.resultsPath}`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let complaint = '';
  child.stderr.on('data', (data: Buffer) => (complaint += data.toString()));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, options.limitMs);
  // Whoever ends this process ends the guest too.
  const end = (): void => void child.kill('SIGKILL');
  process.once('exit', end);
  try {
    return await new Promise<GuestEnd>((resolve) => {
      child.once('error', (error) => resolve({ how: 'qemu failed', detail: error.message }));
      child.once('exit', (code) => {
        if (late) resolve({ how: 'out of time', detail: `killed after ${options.limitMs / 1000} s` });
        else resolve({ how: code === 0 ? 'powered off' : 'qemu failed', detail: complaint.trim() });
      });
    });
  } finally {
    clearTimeout(timer);
    process.off('exit', end);
  }
}

import { unescapeField } from '../../volume/mount-points.ts';

/** A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  readonly id: number;
  readonly parent: number;
  readonly target: string;
  /** Of this mount: "ro", "nosuid"; those of the file system below it are another matter. */
  readonly options: readonly string[];
  readonly type: string;
  /** Of the file system: "size=8192k". */
  readonly data: readonly string[];
}

export function parseMountTable(text: string): readonly MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [id, parent, , , target = '', options = ''] = left.split(' ');
      const [type = '', , data = ''] = right.split(' ');
      return {
        id: Number(id),
        parent: Number(parent),
        target: unescapeField(target),
        options: options.split(','),
        type,
        data: data.split(','),
      };
    });
}

/** What is mounted at a path, the one that is seen first. */
export function mountsAt(table: readonly MountEntry[], target: string): readonly MountEntry[] {
  const here = table.filter((entry) => entry.target === target);
  // One that lies on another has it for its parent; lines need not be in that order.
  const above = (entry: MountEntry): number => here.filter(({ parent }) => parent === entry.id).length;
  return here.sort((a, b) => above(a) - above(b));
}

/** The mount that a path of the node is on. */
export function mountOf(table: readonly MountEntry[], path: string): MountEntry | undefined {
  const isOn = ({ target }: MountEntry): boolean => target === '/' || path === target || path.startsWith(`${target}/`);
  const nearest = table.filter(isOn).reduce((best, { target }) => (target.length > best.length ? target : best), '');
  return mountsAt(table, nearest)[0];
}

/** Bytes of a tmpfs, as its options tell; 0: half of the memory, which it does not say. */
export function sizeOf({ data }: MountEntry): number {
  const text = data.find((option) => option.startsWith('size='))?.slice('size='.length) ?? '';
  const [, number = '0', unit = ''] = /^(\d+)([kmg]?)$/.exec(text) ?? [];
  return Number(number) * { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }[unit as '' | 'k' | 'm' | 'g'];
}

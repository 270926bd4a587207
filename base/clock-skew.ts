/** Certificates are backdated by an hour (swarmkit): machines whose clocks differ by more cannot work together. */
export const MAX_CLOCK_SKEW_MS = 3600 * 1000;

/** What to do about it. */
export const CLOCK_HINT = 'set the clocks of both machines, best by NTP: "date -u" shows them';

/**
 * Says how far the clocks of a node and of a manager differ; undefined: near enough.
 * @param node wall time of the node, ms
 * @param manager wall time of the manager, ms
 */
export function clockSkew(node: number, manager: number): string | undefined {
  const ahead = node - manager;
  if (Math.abs(ahead) <= MAX_CLOCK_SKEW_MS) return undefined;
  return `the clock of the node says ${isoSeconds(node)}, that of the manager ${isoSeconds(manager)}: it is ${spanWords(ahead)} ${ahead > 0 ? 'ahead' : 'behind'}, at most 1h is allowed`;
}

/** "2026-11-21T07:30:00Z" */
export function isoSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** A span of time as it is typed: "2h5m", "3d2h", "1.5s", "500ms". Two units at most; the sign is left out. */
export function spanWords(ms: number): string {
  if (Math.abs(ms) < 1000) return `${Math.round(Math.abs(ms))}ms`;
  if (Math.abs(ms) < 60_000) return `${Number((Math.abs(ms) / 1000).toFixed(1))}s`;
  const seconds = Math.round(Math.abs(ms) / 1000);
  const units: readonly (readonly [string, number])[] = [
    ['d', 86_400],
    ['h', 3600],
    ['m', 60],
    ['s', 1],
  ];
  const first = units.findIndex(([, length]) => seconds >= length);
  let rest = seconds;
  const parts = units.slice(first, first + 2).map(([name, length]) => {
    const count = Math.floor(rest / length);
    rest -= count * length;
    return count === 0 ? '' : `${count}${name}`;
  });
  return parts.join('');
}

import type { Lab } from './lab.ts';

/** A task as `tsswarm ps` shows it. */
export interface SeenTask {
  readonly name: string;
  readonly node: string;
  readonly state: string;
}

/** The cluster of a lab as its users see it, through the machine `via`. */
export interface Views {
  /** "m0 Ready Active Leader", for every node. */
  nodes(via?: number): string[];
  /** Index of the machine that leads; undefined: nobody says so. */
  leader(via: number): number | undefined;
  tasks(via?: number): SeenTask[];
  /** Nodes that a running task is on, once for each task, in order. */
  running(via: number): string[];
}

/** @param lab asked at each look: tests make it before they begin, not when they are read */
export function viewsOf(lab: () => Lab): Views {
  const tasks: Views['tasks'] = (via = 0) =>
    rows(lab().machine(via).ok('tsswarm', 'ps')).map(([, name = '', , node = '', , state = '']) => ({
      name,
      node,
      state,
    }));
  return {
    nodes: (via = 0) =>
      rows(lab().machine(via).ok('tsswarm', 'node', 'ls')).map((row) => {
        const [, name, status, availability, ...rest] = row;
        return [name, status, availability, ...rest.slice(0, -1)].join(' ');
      }),
    leader(via) {
      const { code, stdout } = lab().machine(via).run('tsswarm', 'node', 'ls');
      const found = code === 0 ? /\sm(\d)\s.*Leader/.exec(stdout)?.[1] : undefined;
      return found === undefined ? undefined : Number(found);
    },
    tasks,
    running: (via) =>
      tasks(via)
        .filter(({ state }) => state.startsWith('running'))
        .map(({ node }) => node)
        .sort(),
  };
}

/** Lines of a table without its head, as words. */
const rows = (table: string): string[][] =>
  table
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s{2,}/));

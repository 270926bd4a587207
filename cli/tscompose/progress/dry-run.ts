import type { ApplyProjectResponse, FieldEffect, ProjectChange } from '../../../proto/types/index.ts';
import type { Look, Style } from '../../render/style.ts';

const WORDS: Readonly<Record<ProjectChange['action'], readonly [text: string, look: Look]>> = {
  create: ['create', 'green'],
  update: ['update', 'blue'],
  replace: ['replace', 'yellow'],
  remove: ['remove', 'red'],
  orphan: ['leave', 'yellow'],
  none: ['keep', 'dim'],
};
const REASONS: Readonly<Partial<Record<ProjectChange['action'], string>>> = {
  update: 'running containers stay',
  replace: 'containers are replaced',
  orphan: 'not in the compose file; --remove-orphans removes it',
};

const PREFIX = 'DRY-RUN MODE - ';

/** The plan of `up --dry-run`: a line per object, what would be done to it, and for which fields. */
export function renderPlan(answer: ApplyProjectResponse, style: Style): string {
  return answer.changes
    .map(({ kind, name, action, fields, effects = [] }) => {
      const [word, look] = WORDS[action];
      const reason = REASONS[action];
      const because = fields.length > 0 && effects.length === 0 ? `: ${fields.join(', ')}` : '';
      const detail = reason === undefined ? '' : ` (${reason}${because})`;
      const line = `${PREFIX}${style(look, word.padEnd(8))}${kind.padEnd(8)} ${name}${detail}\n`;
      return line + effects.map((effect) => `${PREFIX}${' '.repeat(18)}${effectWords(effect)}\n`).join('');
    })
    .join('');
}

/** "task.limits.nanoCpus: live", or why containers are replaced for it. */
const effectWords = ({ field, effect, reason }: FieldEffect): string =>
  `${field}: ${effect === 'replace' ? `replaces tasks, because ${reason}` : 'live'}`;

/** What a change of one service would do: a line for each field, or one that says that there is none. */
export const renderEffects = (effects: readonly FieldEffect[]): string =>
  effects.length === 0 ? 'nothing would change\n' : effects.map((effect) => `${effectWords(effect)}\n`).join('');

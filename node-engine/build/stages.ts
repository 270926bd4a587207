import { TsswarmError } from '../../base/errors.ts';
import type { Instruction } from './parse.ts';
import type { Variables } from './words.ts';
import { expand, splitWords, unquote } from './words.ts';

/** One FROM with everything up to the next. */
export interface Stage {
  /** Empty: it has none. */
  readonly name: string;
  /** Image, name of an earlier stage, or "scratch". */
  readonly base: string;
  readonly from: Instruction;
  readonly instructions: readonly Instruction[];
}

export interface StagePlan {
  /** Those that the target needs, in the order of the file. */
  readonly stages: readonly Stage[];
  /** ARG values from before the first FROM: a stage sees one after naming it again. */
  readonly globals: Variables;
}

/**
 * Splits a Dockerfile into stages and leaves out those that the target does not need.
 * @param target name or number of a stage; empty: the last
 * @throws INVALID_INPUT, NOT_SUPPORTED
 */
export function planStages(
  instructions: readonly Instruction[],
  buildArgs: Readonly<Record<string, string>>,
  target: string,
  file: string,
): StagePlan {
  const globals = new Map<string, string>();
  const all: { name: string; base: string; from: Instruction; instructions: Instruction[] }[] = [];
  for (const instruction of instructions) {
    const current = all.at(-1);
    if (instruction.name === 'FROM') {
      const [base = '', as, name = '', ...more] = splitWords(expand(instruction.rest, globals)).map(unquote);
      if (base === '' || more.length > 0 || (as !== undefined && (as.toLowerCase() !== 'as' || name === ''))) {
        throw new TsswarmError('INVALID_INPUT', 'reading the Dockerfile: FROM has the form FROM image [AS name]', {
          where: instruction.where,
        });
      }
      if (instruction.flags.size > 0) {
        throw new TsswarmError('NOT_SUPPORTED', 'reading the Dockerfile: FROM --platform is not supported yet', {
          where: instruction.where,
        });
      }
      all.push({ name: name.toLowerCase(), base, from: instruction, instructions: [] });
    } else if (current !== undefined) current.instructions.push(instruction);
    else if (instruction.name === 'ARG') {
      for (const word of splitWords(instruction.rest)) {
        const [key = '', ...value] = word.split('=');
        const given = buildArgs[key] ?? (value.length > 0 ? unquote(expand(value.join('='), globals)) : undefined);
        if (given !== undefined) globals.set(key, given);
      }
    } else {
      throw new TsswarmError('INVALID_INPUT', `reading the Dockerfile: ${instruction.name} before the first FROM`, {
        where: instruction.where,
      });
    }
  }
  const last =
    target === ''
      ? all.length - 1
      : all.findIndex(({ name }, i) => name === target.toLowerCase() || String(i) === target);
  if (all.length === 0)
    throw new TsswarmError('INVALID_INPUT', 'reading the Dockerfile: it has no FROM', {
      where: { file, line: 1, column: 1 },
    });
  if (last < 0)
    throw new TsswarmError('INVALID_INPUT', `building the target "${target}": the Dockerfile has no such stage`);
  const needed = new Set<number>();
  const need = (index: number): void => {
    if (needed.has(index)) return;
    needed.add(index);
    const stage = all[index];
    const names = [stage?.base, ...(stage?.instructions.map(({ flags }) => flags.get('from')) ?? [])];
    for (const name of names) {
      const other = all.findIndex(
        (candidate, i) => i < index && (candidate.name === name?.toLowerCase() || String(i) === name),
      );
      if (other >= 0 && name !== undefined) need(other);
    }
  };
  need(last);
  return { stages: all.filter((_, i) => needed.has(i)).map((stage) => ({ ...stage })), globals };
}

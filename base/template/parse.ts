import { TemplateFault } from './fault.ts';

/** One word of a pipeline. */
export type Term =
  | { readonly kind: 'value'; readonly value: string | number | boolean | null }
  /** `.A.B`, `$.A` (root), `$name.A`, or `(…).A`. */
  | { readonly kind: 'field'; readonly of: 'dot' | Term; readonly path: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'call'; readonly name: string }
  | { readonly kind: 'pipeline'; readonly pipeline: Pipeline };
/** Commands joined by `|`; each is a term with its arguments. */
export type Pipeline = readonly (readonly Term[])[];

export type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly at: number; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'with';
      /** Where its action begins. */
      readonly at: number;
      readonly test: Pipeline;
      readonly then: Template;
      readonly otherwise: Template;
    }
  | {
      readonly kind: 'range';
      readonly at: number;
      /** Names of key and value; empty: not named. */
      readonly key: string;
      readonly value: string;
      readonly over: Pipeline;
      readonly each: Template;
      readonly none: Template;
    };
/** The part of Go's text/template that Docker's users write. */
export type Template = readonly Part[];

type Piece = { readonly text: string } | { readonly action: string; readonly at: number };
type Fail = (reason: string) => TemplateFault;

const TOKEN =
  /\s+|"(?:[^"\\]|\\.)*"|`[^`]*`|:=|[|(),]|-?\d+(?:\.\d+)?|\$?(?:\.[A-Za-z_]\w*)+|\$\w*(?:\.[A-Za-z_]\w*)*|\.|[A-Za-z_]\w*/y;

/**
 * Reads a template.
 * @param isFunction whether a function of that name is known
 * @throws TemplateFault
 */
export function parseTemplate(text: string, isFunction: (name: string) => boolean): Template {
  const pieces = split(text);
  let at = 0;
  const fail: Fail = (reason) => {
    const piece = pieces[Math.min(at, pieces.length - 1)];
    return new TemplateFault(reason, piece !== undefined && 'action' in piece ? piece.at : text.length);
  };
  const offset = (): number => {
    const piece = pieces[at];
    return piece !== undefined && 'action' in piece ? piece.at : 0;
  };
  const block = (inside: string): { readonly parts: Template; readonly end: string } => {
    const parts: Part[] = [];
    for (; at < pieces.length; at++) {
      const piece = pieces[at];
      if (piece === undefined) break;
      if ('text' in piece) {
        if (piece.text !== '') parts.push({ kind: 'text', text: piece.text });
        continue;
      }
      if (piece.action.startsWith('/*')) continue;
      const tokens = tokenise(piece.action, fail);
      const [word] = tokens;
      if (word === 'end' || word === 'else') {
        if (inside === '') throw fail(`"${word}" without a beginning`);
        return { parts, end: piece.action };
      }
      if (word === 'if' || word === 'with' || word === 'range') parts.push(control(word, tokens.slice(1)));
      else if (tokens.includes(':=')) throw fail('variables are set by range only');
      else parts.push({ kind: 'print', at: offset(), pipeline: pipelineOf(tokens, fail, isFunction) });
    }
    if (inside !== '') throw fail(`"${inside}" has no end`);
    return { parts, end: '' };
  };
  const control = (word: 'if' | 'with' | 'range', tokens: readonly string[]): Part => {
    const begin = offset();
    at++;
    const first = block(word);
    let second: Template = [];
    if (first.end !== 'end') {
      const chained = tokenise(first.end, fail).slice(1);
      if (chained[0] === 'if') second = [control('if', chained.slice(1))];
      else if (chained.length > 0) throw fail(`"${first.end}" is not known`);
      else {
        at++;
        const last = block(word);
        if (last.end !== 'end') throw fail('two else in a row');
        second = last.parts;
      }
    }
    if (word !== 'range')
      return {
        kind: word,
        at: begin,
        test: pipelineOf(tokens, fail, isFunction),
        then: first.parts,
        otherwise: second,
      };
    const assigned = tokens.indexOf(':=');
    const names = tokens.slice(0, Math.max(0, assigned)).filter((name) => name !== ',');
    if (names.length > 2 || names.some((name) => !/^\$\w+$/.test(name))) throw fail('expected range $key, $value := …');
    const [a = '', b = ''] = names;
    const over = pipelineOf(tokens.slice(assigned + 1), fail, isFunction);
    return {
      kind: 'range',
      at: begin,
      key: b === '' ? '' : a,
      value: b === '' ? a : b,
      over,
      each: first.parts,
      none: second,
    };
  };
  return block('').parts;
}

/** Text and actions by turns; "{{-" and "-}}" take the white space beside them away. */
function split(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let rest = text;
  const place = (): number => text.length - rest.length;
  for (;;) {
    const open = rest.indexOf('{{');
    if (open < 0) return [...pieces, { text: rest }];
    const close = endOfAction(rest, open + 2);
    if (close < 0) throw new TemplateFault('"{{" has no "}}"', place() + open);
    const at = place() + open;
    let before = rest.slice(0, open);
    let action = rest.slice(open + 2, close);
    rest = rest.slice(close + 2);
    if (/^-\s/.test(action)) {
      before = before.trimEnd();
      action = action.slice(1);
    }
    if (/\s-$/.test(action)) {
      action = action.slice(0, -1);
      rest = rest.trimStart();
    }
    pieces.push({ text: before }, { action: action.trim(), at });
  }
}

/** Where the "}}" of an action is: not one inside of quotes. */
function endOfAction(text: string, from: number): number {
  let quote = '';
  for (let at = from; at < text.length; at++) {
    const character = text[at] ?? '';
    if (quote !== '') {
      if (character === '\\' && quote === '"') at++;
      else if (character === quote) quote = '';
    } else if (character === '"' || character === '`') quote = character;
    else if (text.startsWith('}}', at)) return at;
  }
  return -1;
}

function tokenise(action: string, fail: Fail): readonly string[] {
  const tokens: string[] = [];
  const pattern = new RegExp(TOKEN);
  while (pattern.lastIndex < action.length) {
    const start = pattern.lastIndex;
    const found = pattern.exec(action)?.[0];
    if (found === undefined) throw fail(`"${action.slice(start)}" cannot be read`);
    // ").Field" is the one place where what is close together belongs together.
    if (found.trim() !== '') tokens.push(found.startsWith('.') && action[start - 1] === ')' ? `)${found}` : found);
  }
  if (tokens.length === 0) throw fail('there is nothing between "{{" and "}}"');
  return tokens;
}

function pipelineOf(tokens: readonly string[], fail: Fail, isFunction: (name: string) => boolean): Pipeline {
  let at = 0;
  const pipeline = (closing: boolean): Pipeline => {
    const commands: Term[][] = [[]];
    for (; at < tokens.length; at++) {
      const token = tokens[at] ?? '';
      const command = commands.at(-1) ?? [];
      if (token === ')') {
        if (!closing) throw fail('")" without "("');
        break;
      }
      if (token === '|') commands.push([]);
      else if (token === '(') {
        at++;
        const inner: Term = { kind: 'pipeline', pipeline: pipeline(true) };
        const after = tokens[at + 1] ?? '';
        if (after.startsWith(').')) at++;
        command.push(after.startsWith(').') ? { kind: 'field', of: inner, path: after.slice(2).split('.') } : inner);
      } else command.push(term(token, fail, isFunction));
    }
    if (closing && tokens[at] !== ')') throw fail('"(" without ")"');
    if (commands.some((command) => command.length === 0)) throw fail('a command is missing');
    return commands;
  };
  return pipeline(false);
}

function term(token: string, fail: Fail, isFunction: (name: string) => boolean): Term {
  if (token.startsWith('"')) return { kind: 'value', value: unquote(token, fail) };
  if (token.startsWith('`')) return { kind: 'value', value: token.slice(1, -1) };
  if (/^-?\d/.test(token)) return { kind: 'value', value: Number(token) };
  if (token === 'true' || token === 'false') return { kind: 'value', value: token === 'true' };
  if (token === 'nil') return { kind: 'value', value: null };
  if (token === '.') return { kind: 'field', of: 'dot', path: [] };
  if (token.startsWith('.')) return { kind: 'field', of: 'dot', path: token.slice(1).split('.') };
  if (token.startsWith('$')) {
    const [name = '', ...path] = token.split('.');
    const variable: Term = { kind: 'variable', name };
    return path.length === 0 ? variable : { kind: 'field', of: variable, path };
  }
  if (/^[A-Za-z_]/.test(token)) {
    if (!isFunction(token)) throw fail(`the function "${token}" is not known`);
    return { kind: 'call', name: token };
  }
  throw fail(`"${token}" is not expected there`);
}

function unquote(token: string, fail: Fail): string {
  try {
    // What "\t" and "\n" have become already, JSON wants escaped.
    return JSON.parse(token.replaceAll('\t', '\\t').replaceAll('\n', '\\n')) as string;
  } catch {
    throw fail(`${token} is no string`);
  }
}

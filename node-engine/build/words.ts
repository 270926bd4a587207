/** Values of ARG and ENV at a point of the file. */
export type Variables = ReadonlyMap<string, string>;

/**
 * Replaces `$name`, `${name}`, `${name:-word}` and `${name:+word}` as the Dockerfile reference has it ("Environment
 * replacement"): not within single quotes, not after a backslash. Quotes are kept; {@link unquote} takes them off.
 */
export function expand(text: string, variables: Variables): string {
  let result = '';
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const character = text[i] ?? '';
    if (character === '\\' && quote !== "'") {
      result += character + (text[++i] ?? '');
    } else if (character === '$' && quote !== "'") {
      const match = /^\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})/.exec(text.slice(i));
      if (match === null) {
        result += character;
        continue;
      }
      const [whole, plain, braced, operator, word = ''] = match;
      const value = variables.get(plain ?? braced ?? '');
      const present = value !== undefined && value !== '';
      if (operator === '-') result += present ? value : expand(word, variables);
      else if (operator === '+') result += present ? expand(word, variables) : '';
      else result += value ?? '';
      i += whole.length - 1;
    } else {
      if (quote === '' && (character === '"' || character === "'")) quote = character;
      else if (character === quote) quote = '';
      result += character;
    }
  }
  return result;
}

/** Takes quotes and backslashes off a word. */
export function unquote(text: string): string {
  let result = '';
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const character = text[i] ?? '';
    if (character === '\\' && quote !== "'") result += text[++i] ?? '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
    else result += character;
  }
  return result;
}

/** Splits at spaces outside quotes; quotes stay on. */
export function splitWords(text: string): string[] {
  return text.match(/(?:\\.|"(?:\\.|[^"\\])*"|'[^']*'|[^\s"'\\])+/gs) ?? [];
}

/** `a=1 b="two words"` as pairs, expanded and unquoted; undefined when a word has no equals sign. */
export function pairs(text: string, variables: Variables): [string, string][] | undefined {
  const result: [string, string][] = [];
  for (const word of splitWords(text)) {
    const split = word.indexOf('=');
    if (split <= 0) return undefined;
    result.push([unquote(word.slice(0, split)), unquote(expand(word.slice(split + 1), variables))]);
  }
  return result;
}

/** Whether a path of the context (relative, with slashes) is left out by `.dockerignore`. */
export type Ignore = (path: string) => boolean;

/**
 * Reads a `.dockerignore` (Dockerfile reference, ".dockerignore file"): Go's filepath.Match with `**`, comments, `!` takes
 * back; the last pattern that matches decides, and a directory that is left out takes its content with it.
 */
export function parseIgnore(text: string): Ignore {
  const rules = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const keep = line.startsWith('!');
      const pattern = (keep ? line.slice(1) : line)
        .trim()
        .replace(/^\.?\/+/, '')
        .replace(/\/+$/, '');
      return { keep, expression: toExpression(pattern) };
    });
  return (path) => {
    let ignored = false;
    for (const { keep, expression } of rules) if (expression.test(path)) ignored = !keep;
    return ignored;
  };
}

/** A glob as an expression that matches a path and everything below it. */
export function toExpression(glob: string): RegExp {
  let source = '';
  for (let i = 0; i < glob.length; i++) {
    const character = glob[i] ?? '';
    if (glob.startsWith('**/', i)) {
      source += '(?:.*/)?';
      i += 2;
    } else if (glob.startsWith('**', i)) {
      source += '.*';
      i++;
    } else if (character === '*') source += '[^/]*';
    else if (character === '?') source += '[^/]';
    else if (character === '[') {
      const end = glob.indexOf(']', i);
      if (end < 0) source += '\\[';
      else {
        source += glob.slice(i, end + 1);
        i = end;
      }
    } else source += character.replace(/[.+^${}()|\\/]/g, '\\$&');
  }
  return new RegExp(`^${source}(?:/.*)?$`, 's');
}

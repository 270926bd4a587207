/** How many columns of a terminal a text takes; escape sequences take none, wide characters two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const char of stripAnsi(text)) width += columnsOf(char.codePointAt(0) ?? 0);
  return width;
}

/** `text` filled with spaces up to `width` columns; longer text stays as it is. */
export function padTo(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
}

/** `text` cut to `width` columns, with an ellipsis as its last column when something was cut. Plain text only. */
export function cutTo(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let cut = '';
  let taken = 0;
  for (const char of text) {
    const columns = columnsOf(char.codePointAt(0) ?? 0);
    if (taken + columns > width - 1) break;
    cut += char;
    taken += columns;
  }
  return width > 0 ? `${cut}…` : '';
}

const ESCAPES = /\u001b\[[0-9;]*[A-Za-z]/g;

/** `text` without its escape sequences. */
export function stripAnsi(text: string): string {
  return text.replace(ESCAPES, '');
}

/** Combining marks take no column; East Asian wide and emoji take two (Unicode, UAX #11). */
function columnsOf(point: number): number {
  if (point < 0x300) return 1;
  if (/\p{Mark}/u.test(String.fromCodePoint(point)) || point === 0x200d) return 0;
  const wide =
    (point >= 0x1100 && point <= 0x115f) ||
    (point >= 0x2e80 && point <= 0xa4cf) ||
    (point >= 0xac00 && point <= 0xd7a3) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0xfe30 && point <= 0xfe6f) ||
    (point >= 0xff00 && point <= 0xff60) ||
    (point >= 0x1f300 && point <= 0x1faff) ||
    (point >= 0x20000 && point <= 0x3fffd);
  return wide ? 2 : 1;
}

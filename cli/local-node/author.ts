import { userInfo } from 'node:os';
import type { Author } from '../../proto/types/index.ts';

/** Who asks for a change, for the history: the user who called sudo where one did. */
export function authorOf(command: string): Author {
  return { user: process.env['SUDO_USER'] || ownName(), command };
}

function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user id without an entry in the list of users.
    return String(process.getuid?.() ?? '');
  }
}

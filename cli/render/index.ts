/** What the commands show on a terminal. */
export { ansiStyle, plainStyle, wantsAnsi } from './style.ts';
export type { AnsiMode, Style } from './style.ts';
export { renderTable } from './table.ts';
export { durationWords, stepSeconds } from './duration.ts';
export { formatMemory, formatSize } from './size.ts';
export { exitCodeOf, nearPath, renderFailure } from './failure.ts';
export { openDisplay } from './display.ts';
export type { ProgressDisplay, ProgressMode } from './display.ts';
export { hasEnded } from './progress.ts';
export type { ProgressRow } from './progress.ts';
export { LogLines } from './log-lines.ts';
export type { LogSource } from './log-lines.ts';

/** The TypeScript side of the native launcher: starts bundles, reads what their supervisors say, talks to them. */
export { attachTo, limitLog, reopenLog, signalContainer, waitForExit } from './control.ts';
export { signalNumber } from './failure.ts';
export { LAUNCHER_PROGRAM, killAll, startBundle } from './start.ts';
export type { LogTarget, StartBundle } from './start.ts';
export { isAlive, readExit, readState, readWarnings } from './state.ts';
export type { ProcessIdentity, RecordedExit, RunState } from './state.ts';

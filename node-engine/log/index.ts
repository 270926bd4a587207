/** Reading what supervisors have logged, and adding lines of our own. */
export { appendLog } from './append.ts';
export { readLog } from './read.ts';

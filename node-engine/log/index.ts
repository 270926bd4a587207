/** Reading what supervisors have logged. */
export { readLog } from './read.ts';

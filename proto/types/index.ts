export type * from './container.ts';
export type * from './objects.ts';
export { TASK_STATES } from './objects.ts';
export type * from './project.ts';
export type * from './assignment.ts';
export type * from './control.ts';
export type * from './ca.ts';
export type * from './membership.ts';
export type * from './relay.ts';

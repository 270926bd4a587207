export { startAgent } from './loop.ts';
export type { Agent, AgentOptions, Resolver } from './loop.ts';
export { agentDisk } from './disk.ts';
export { TASK_ID_LABEL } from './task/container-request.ts';
export { containerIdOf } from './container-id.ts';

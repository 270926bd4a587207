export { startAgent } from './loop.ts';
export type { Agent, AgentOptions } from './loop.ts';
export type { Resolver } from './networking.ts';
export { agentDisk } from './disk.ts';
export { TASK_ID_LABEL } from './task/container-request.ts';
export { containerIdOf } from './container-id.ts';

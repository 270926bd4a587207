export { startAgent } from './loop.ts';
export type { Agent, AgentOptions, Resolver } from './loop.ts';
export { agentDisk } from './disk.ts';
export { containerIdOf } from './container-id.ts';

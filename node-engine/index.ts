/** The engine's only door: containers, images, networks and volumes of one node. */
export { createEngine } from './engine.ts';
export type { EngineOptions } from './engine.ts';
export type * from './types.ts';

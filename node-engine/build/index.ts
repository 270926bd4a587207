/** Building images from Dockerfiles. */
export { createBuilder } from './builder.ts';
export type { BuilderParts } from './builder.ts';
export { openBuildCache } from './cache.ts';
export { BUILD_LABEL } from './run-step.ts';

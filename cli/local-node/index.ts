/** The node of this machine that a command talks to: where it is, how it is reached, how one is started. */
export { addPlaceOptions, instanceName, placeOf } from './place.ts';
export type { NodePlace } from './place.ts';
export { openNode, tryOpenNode } from './client.ts';
export type { NodeClient } from './client.ts';

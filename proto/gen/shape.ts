// Generated from the .proto files by deploy/setup/generate-proto.ts; never edited.
/** Names the messages of this version: two programs with the same shape may exchange values as they are. */
export const SHAPE = '096ebf82e688';

/** Messages may hold a project with its secrets: well above gRPC's 4 MiB. */
export const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

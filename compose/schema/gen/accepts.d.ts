/** Whether a plain value is a compose file as far as the schema tells. */
export function accepts(value: unknown): boolean;

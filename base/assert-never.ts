/** Closes a switch over a union: a new member fails to compile here, and an impossible value crashes. */
export function assertNever(value: never): never {
  throw new Error(`impossible value reached: ${JSON.stringify(value)}`);
}

/** The log drivers that there are, each with its options. */
export const LOG_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  'json-file': ['max-size', 'max-file'],
  local: ['max-size', 'max-file'],
  none: [],
};

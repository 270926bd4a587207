/** What the guest said of one suite. */
export interface SuiteResult {
  readonly name: string;
  readonly code: number;
}

/** Reads the lines "VM-SUITE name code" and, when all were run, "VM-END" of what a guest wrote (see guest/run). */
export function readSuites(text: string): { readonly suites: readonly SuiteResult[]; readonly complete: boolean } {
  const suites = [...text.matchAll(/^VM-SUITE (\S+) (\d+)$/gm)].map(([, name = '', code = '']): SuiteResult => ({
    name,
    code: Number(code),
  }));
  return { suites, complete: suites.length > 0 && /^VM-END$/m.test(text) };
}

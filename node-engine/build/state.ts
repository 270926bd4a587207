import { isAbsolute, join, normalize } from 'node:path/posix';
import { TsswarmError } from '../../base/errors.ts';
import type { Instruction } from './parse.ts';
import { expand, pairs, splitWords, unquote } from './words.ts';

/** The image that a stage is making: the parts of an OCI config that instructions change, and what only the build knows. */
export interface StageState {
  /** Lowest first. */
  readonly diffIds: readonly string[];
  readonly config: ImageConfigDraft;
  readonly history: readonly { readonly created_by: string; readonly empty_layer?: boolean }[];
  /** ARG values in sight. */
  readonly args: ReadonlyMap<string, string>;
  readonly shell: readonly string[];
  /** CMD was set in this stage: an ENTRYPOINT that follows leaves it alone. */
  readonly commandSet: boolean;
}

/** `config` of an OCI image configuration (image-spec, config.md), with Docker's Healthcheck. */
export interface ImageConfigDraft {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[] | null;
  readonly Cmd?: readonly string[] | null;
  readonly WorkingDir?: string;
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Volumes?: Readonly<Record<string, object>>;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly StopSignal?: string;
  readonly Healthcheck?: Readonly<Record<string, unknown>>;
  readonly Shell?: readonly string[];
}

/** Variables that are replaced in an instruction: ARG under ENV. */
export function variablesOf(state: StageState): ReadonlyMap<string, string> {
  const variables = new Map(state.args);
  for (const entry of state.config.Env ?? []) {
    const split = entry.indexOf('=');
    variables.set(entry.slice(0, split), entry.slice(split + 1));
  }
  return variables;
}

/**
 * What an instruction that makes no layer does to the state; undefined for one that makes a layer.
 * @param buildArgs `--build-arg`
 * @throws INVALID_INPUT, NOT_SUPPORTED with the place
 */
export function applyMetadata(
  state: StageState,
  instruction: Instruction,
  buildArgs: Readonly<Record<string, string>>,
): StageState | undefined {
  const { name, rest, json, where, flags } = instruction;
  const variables = variablesOf(state);
  const refuse = (what: string): never => {
    throw new TsswarmError('INVALID_INPUT', `reading the Dockerfile: ${name} ${what}`, { where });
  };
  const set = (config: Partial<ImageConfigDraft>, change: Partial<StageState> = {}): StageState => ({
    ...state,
    ...change,
    config: { ...state.config, ...config },
    history: [...state.history, { created_by: `${name} ${rest}`, empty_layer: true }],
  });
  const command = (): readonly string[] => json ?? [...state.shell, rest];
  const keyed = (): [string, string][] => {
    const found = pairs(rest, variables);
    if (found !== undefined) return found;
    const [, key = '', value = ''] = /^(\S+)\s+(.*)$/s.exec(rest) ?? [];
    return key === '' ? refuse('needs key=value') : [[key, unquote(expand(value, variables))]];
  };
  if (
    name !== 'HEALTHCHECK' &&
    name !== 'COPY' &&
    name !== 'ADD' &&
    name !== 'RUN' &&
    name !== 'FROM' &&
    flags.size > 0
  ) {
    refuse(`has the unknown flag --${[...flags.keys()][0] ?? ''}`);
  }
  switch (name) {
    case 'ENV': {
      const env = new Map((state.config.Env ?? []).map((entry) => [entry.slice(0, entry.indexOf('=')), entry]));
      for (const [key, value] of keyed()) env.set(key, `${key}=${value}`);
      return set({ Env: [...env.values()] });
    }
    case 'ARG': {
      const args = new Map(state.args);
      for (const word of splitWords(rest)) {
        const split = word.indexOf('=');
        const key = split < 0 ? word : word.slice(0, split);
        const given = buildArgs[key];
        if (given !== undefined) args.set(key, given);
        else if (split >= 0) args.set(key, unquote(expand(word.slice(split + 1), variables)));
      }
      return { ...state, args };
    }
    case 'LABEL':
      return set({ Labels: { ...state.config.Labels, ...Object.fromEntries(keyed()) } });
    case 'MAINTAINER':
      return set({ Labels: { ...state.config.Labels, maintainer: rest } });
    case 'USER':
      return set({ User: unquote(expand(rest, variables)) });
    case 'STOPSIGNAL':
      return set({ StopSignal: unquote(expand(rest, variables)) });
    case 'EXPOSE': {
      const ports = splitWords(expand(rest, variables)).flatMap(
        (word) => exposed(unquote(word)) ?? refuse(`"${word}" is not a port`),
      );
      return set({
        ExposedPorts: { ...state.config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) },
      });
    }
    case 'VOLUME': {
      const paths = json ?? splitWords(expand(rest, variables)).map(unquote);
      return set({ Volumes: { ...state.config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) } });
    }
    case 'CMD':
      return set({ Cmd: command() }, { commandSet: true });
    case 'ENTRYPOINT':
      return set({ Entrypoint: command(), ...(state.commandSet ? {} : { Cmd: null }) });
    case 'SHELL':
      if (json === undefined || json.length === 0) return refuse('needs a JSON list');
      return set({ Shell: json }, { shell: json });
    case 'HEALTHCHECK':
      return set({ Healthcheck: healthCheck(instruction, refuse) });
    default:
      return undefined;
  }
}

/** "80", "80-82/udp" → "80/tcp", … */
function exposed(text: string): string[] | undefined {
  const [, first = '', last, protocol = 'tcp'] = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  if (first === '') return undefined;
  const from = Number(first);
  return Array.from({ length: Number(last ?? first) - from + 1 }, (_, i) => `${from + i}/${protocol}`);
}

const UNITS_NS: Readonly<Record<string, number>> = { ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };

function healthCheck({ rest, flags }: Instruction, refuse: (what: string) => never): Record<string, unknown> {
  if (/^none$/i.test(rest)) return { Test: ['NONE'] };
  const [, command = ''] = /^CMD\s+(.*)$/is.exec(rest) ?? [];
  if (command === '') refuse('needs CMD or NONE');
  let test: readonly string[] = ['CMD-SHELL', command];
  if (command.startsWith('[')) {
    try {
      test = ['CMD', ...(JSON.parse(command) as string[])];
    } catch {
      refuse('has a malformed JSON list');
    }
  }
  const result: Record<string, unknown> = { Test: test };
  const names: Readonly<Record<string, string>> = {
    interval: 'Interval',
    timeout: 'Timeout',
    'start-period': 'StartPeriod',
    'start-interval': 'StartInterval',
  };
  for (const [flag, value] of flags) {
    const field = names[flag];
    if (flag === 'retries') result['Retries'] = Number(value);
    else if (field === undefined) refuse(`has the unknown flag --${flag}`);
    else {
      const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
      if (parts.length === 0) refuse(`--${flag} is "${value}", expected a duration such as 30s`);
      result[field] = parts.reduce((sum, [, number, unit]) => sum + Number(number) * (UNITS_NS[unit ?? ''] ?? 0), 0);
    }
  }
  return result;
}

/** A path of an instruction, absolute in the image. */
export function inImage(state: StageState, path: string): string {
  return normalize(isAbsolute(path) ? path : join(state.config.WorkingDir || '/', path));
}

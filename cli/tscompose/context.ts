import type { FileReader, LoadOptions, LoadedProject } from '../../compose/index.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { NodeClient } from '../local-node/client.ts';
import { placeOf } from '../local-node/place.ts';
import type { NodePlace, PlaceOptions } from '../local-node/place.ts';
import { openDisplay } from '../render/index.ts';
import type { AnsiMode, ProgressDisplay, ProgressMode } from '../render/index.ts';
import type { Terminal } from '../terminal/index.ts';

/** Options that stand before the command. */
export interface GlobalOptions extends PlaceOptions {
  readonly file?: readonly string[];
  readonly projectName?: string;
  readonly projectDirectory?: string;
  readonly profile?: readonly string[];
  readonly envFile?: readonly string[];
  readonly ansi?: string;
  readonly progress?: string;
  readonly yes?: boolean;
}

/** What every command needs: the terminal, the node, the project. */
export interface Context {
  readonly terminal: Terminal;
  readonly place: NodePlace;
  /** Whose command it is, for the history, when it is not tscompose's own. */
  readonly command?: string;
  /**
   * Loads the compose files; warnings are shown.
   * @param services named on the command line: they activate their profiles
   */
  loadProject(services?: readonly string[], interpolate?: boolean): Promise<LoadedProject['project']>;
  /** As `loadProject`; undefined when there is no compose file and the project is named by -p or the environment. */
  findProject(services?: readonly string[]): Promise<LoadedProject['project'] | undefined>;
  /** The project's name: of the compose files, or as given with -p where there are none. */
  projectName(): Promise<string>;
  /** Begins to connect to the node, if one runs: it answers while the compose files are read. */
  expectNode(): void;
  /** Connects to the node. @throws UNAVAILABLE when none runs */
  openNode(): Promise<NodeClient>;
  /** Connects to the node, starting one where none runs: asked for at a terminal, at once with `yes` or without one. */
  openOrStartNode(yes: boolean): Promise<NodeClient>;
  openDisplay(title: string, options?: { readonly quiet?: boolean; readonly prefix?: string }): ProgressDisplay;
  warn(message: string): void;
}

/** Makes the context of a command; nothing is read or connected yet. */
export function createContext(options: GlobalOptions, terminal: Terminal): Context {
  const environment = process.env;
  const place = placeOf(options, environment);
  const mode = progressMode(options, terminal);
  const warn = (message: string): void => terminal.err(`${terminal.errStyle('yellow', 'warning:')} ${message}\n`);
  let loaded: Promise<LoadedProject['project']> | undefined;

  let expected: Promise<NodeClient | undefined> | undefined;
  const tryOpen = async (): Promise<NodeClient | undefined> =>
    (await import('../local-node/client.ts')).tryOpenNode(place);

  const context: Context = {
    terminal,
    place,
    warn,
    loadProject: (services = [], interpolate = true) => (loaded ??= load(options, services, interpolate, warn)),
    async findProject(services = []) {
      const named = options.projectName ?? environment['COMPOSE_PROJECT_NAME'];
      try {
        return await context.loadProject(services);
      } catch (error) {
        const isAbsent = isTsswarmError(error, 'NOT_FOUND') && error.message.startsWith('finding a compose file');
        if (isAbsent && named !== undefined && named !== '') return undefined;
        throw error;
      }
    },
    async projectName() {
      const named = options.projectName ?? environment['COMPOSE_PROJECT_NAME'];
      if (named !== undefined && named !== '') return named;
      if (loaded !== undefined) return (await loaded).name;
      // Not through the door: commands on a project that runs need no schema, and start in half the time without it.
      const { locateProject } = await import('../../compose/read/locate.ts');
      const { diskReader } = await import('../../compose/read/files.ts');
      const warnings: string[] = [];
      const { name } = await locateProject(loadOptions(options, diskReader(readStdin), [], true), warnings);
      for (const warning of warnings) warn(warning);
      return name;
    },
    expectNode() {
      expected = tryOpen();
      // Whoever opens the node hears of it.
      expected.catch(() => undefined);
    },
    // Loaded here: commands that need no node (config, version, --help) start faster without the messages.
    openNode: async () => (await import('../local-node/client.ts')).openNode(place),
    async openOrStartNode(yes) {
      const node = await (expected ?? tryOpen());
      expected = undefined;
      if (node !== undefined) return node;
      if (!yes && options.yes !== true && terminal.interactive) {
        const agreed = await terminal.confirm('No tsswarm node runs on this machine. Start one?', true);
        if (!agreed) {
          throw new TsswarmError('UNAVAILABLE', 'running the command: it needs a node on this machine', {
            hint: 'start one with "tsswarm init"',
          });
        }
      }
      const { startNode } = await import('../local-node/start.ts');
      terminal.err('Starting a tsswarm node on this machine\n');
      const started = await startNode({
        place,
        flags: [],
        useSystemd: true,
      });
      terminal.err(`Node started; its log: ${started.log}\n`);
      return context.openNode();
    },
    openDisplay: (title, { quiet = false, prefix } = {}) =>
      openDisplay({
        mode: quiet ? 'quiet' : mode,
        stream: process.stderr,
        style: terminal.errStyle,
        title,
        ...(prefix === undefined ? {} : { prefix }),
      }),
  };
  return context;
}

/** `--ansi`, else COMPOSE_ANSI. @throws INVALID_INPUT */
export function ansiMode(given: string | undefined): AnsiMode {
  const mode = given ?? (process.env['COMPOSE_ANSI'] || 'auto');
  if (mode === 'auto' || mode === 'always' || mode === 'never') return mode;
  throw new TsswarmError('INVALID_INPUT', `using --ansi "${mode}": expected auto, always or never`);
}

function progressMode(options: GlobalOptions, terminal: Terminal): ProgressMode {
  const mode = options.progress ?? (process.env['COMPOSE_PROGRESS'] || 'auto');
  switch (mode) {
    case 'auto':
      return terminal.redraws ? 'tty' : 'plain';
    case 'tty':
    case 'plain':
    case 'json':
    case 'quiet':
      return mode;
    default:
      throw new TsswarmError('INVALID_INPUT', `using --progress "${mode}": expected auto, tty, plain, json or quiet`);
  }
}

async function load(
  options: GlobalOptions,
  services: readonly string[],
  interpolate: boolean,
  warn: (message: string) => void,
): Promise<LoadedProject['project']> {
  const { diskReader, loadProject } = await import('../../compose/index.ts');
  const { project, warnings } = await loadProject(loadOptions(options, diskReader(readStdin), services, interpolate));
  for (const warning of warnings) warn(warning);
  return project;
}

function loadOptions(
  options: GlobalOptions,
  reader: FileReader,
  services: readonly string[],
  interpolate: boolean,
): LoadOptions {
  return {
    reader,
    currentDir: process.cwd(),
    files: options.file ?? [],
    envFiles: options.envFile ?? [],
    ...(options.projectName === undefined ? {} : { projectName: options.projectName }),
    ...(options.projectDirectory === undefined ? {} : { projectDirectory: options.projectDirectory }),
    profiles: options.profile ?? [],
    services,
    environment: process.env,
    interpolate,
  };
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

import type { Command } from 'commander';
import { flushCompileCache } from 'node:module';
import { CommanderError, Option } from 'commander';
import { exitNow } from '../../node-engine/native/addon.ts';
import { packageVersion } from '../local-node/version.ts';
import { exitCodeOf, renderFailure } from '../render/failure.ts';
import { plainStyle } from '../render/style.ts';
import type { Terminal } from './index.ts';

/** A command that has said what there is to say and ends with this code. */
export class ExitCode extends Error {
  override readonly name = 'ExitCode';
  readonly code: number;
  constructor(code: number) {
    super(`exit code ${code}`);
    this.code = code;
  }
}

/**
 * Runs a program to its end and ends the process. Errors are shown in one line; a wrong command or flag ends with 16, as
 * Compose has it.
 * @param terminal asked for late: `--ansi` is known only after parsing
 */
export async function runProgram(program: Command, terminal: () => Terminal): Promise<never> {
  const code = await outcome(program, terminal);
  // What is still under way (a connection, a timer) has nobody left to wait for it; but output has to get out first.
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  // Those who put the terminal right again at the end.
  process.emit('exit', code);
  flushCompileCache();
  exitNow(code);
}

const WRONG_USAGE = 16;

async function outcome(program: Command, terminal: () => Terminal): Promise<number> {
  try {
    await program.parseAsync(process.argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof ExitCode) return error.code;
    if (error instanceof CommanderError) {
      return error.exitCode === 0 || error.code === 'commander.help' ? 0 : WRONG_USAGE;
    }
    const { err, errStyle } = terminal();
    err(renderFailure(error, errStyle ?? plainStyle, process.cwd()));
    if (process.env['TSSWARM_DEBUG']) err(`${(error as Error).stack ?? ''}\n`);
    return exitCodeOf(error);
  }
}

/** `-v` and `--version`, which docker and docker-compose have beside their command. */
export function addVersionFlag(program: Command, terminal: () => Terminal): Command {
  return program.option('-v, --version', 'print the version').on('option:version', () => {
    terminal().out(`${program.name()} ${packageVersion()}\n`);
    throw new ExitCode(0);
  });
}

/** Makes commander throw instead of exiting, and speak as the rest of the program does. */
export function prepareProgram(program: Command): Command {
  const prepare = (command: Command): void => {
    command
      .exitOverride()
      .showHelpAfterError(false)
      .showSuggestionAfterError(true)
      .configureHelp({ showGlobalOptions: false })
      .configureOutput({
        outputError: (text, write) => {
          const [message = '', suggestion] = text
            .trim()
            .replace(/^error: /, '')
            .split('\n');
          const hint = suggestion?.replace(/^\(|\)$/g, '') ?? `see "${commandPath(command)} --help"`;
          write(`error: ${message.replace(/[.!]$/, '')}\nhint: ${hint}\n`);
        },
      });
    for (const inner of command.commands) prepare(inner);
  };
  prepare(program);
  return program;
}

function commandPath(command: Command): string {
  return command.parent === null ? command.name() : `${commandPath(command.parent)} ${command.name()}`;
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

const gather = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** An option that may be given several times: a list of what was given. It never takes the words after its value. */
export const repeatable = (flags: string, description: string): Option =>
  new Option(flags, description).argParser(gather);

/**
 * Lets a command's switches be given as Docker's are: `--detach=false`, `--read-only=true`. One that is off is as if it were not given, or
 * its opposite (`--no-read-only`) where there is one. What stands behind the first argument is left alone when the command passes it on.
 */
export function booleansWithValues(command: Command): void {
  const original = command.parseOptions.bind(command);
  command.parseOptions = (args) => original(spelledOut(command, args));
}

function spelledOut(command: Command, args: readonly string[]): string[] {
  const optionOf = (word: string): Option | undefined =>
    command.options.find(({ long, short }) => long === word || short === word);
  const result: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? '';
    if (!arg.startsWith('-') || arg === '--') {
      // Options may stand behind an argument, unless the rest is somebody else's.
      if (arg === '--' || passesOn(command)) return [...result, ...args.slice(at)];
      result.push(arg);
      continue;
    }
    const [, name = '', value] = /^(--[^=]+)=(true|false|1|0|t|f)$/i.exec(arg) ?? [];
    const option = optionOf(value === undefined ? arg : name);
    if (value !== undefined && option !== undefined && option.isBoolean()) {
      const opposite = name.replace(/^--/, '--no-');
      if (/^(true|1|t)$/i.test(value)) result.push(name);
      else if (optionOf(opposite) !== undefined) result.push(opposite);
      continue;
    }
    result.push(arg);
    const next = args[at + 1];
    if (option?.required === true && next !== undefined) {
      result.push(next);
      at++;
    }
  }
  return result;
}

/** Whether `passThroughOptions` was asked for, which commander tells nobody. */
const passesOn = (command: Command): boolean =>
  (command as unknown as { readonly _passThroughOptions?: boolean })._passThroughOptions === true;

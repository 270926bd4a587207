import { ExitCode } from './program.ts';

const INTERRUPTED = 130;
const BACKSPACE = new Set(['\b', '\x7f']);

/**
 * Reads one line that nobody shall see: from the terminal without echo, else the first line of standard input.
 * @throws ExitCode when the user gives up
 */
export async function readSecret(question: string): Promise<string> {
  const { stdin, stderr } = process;
  stdin.setEncoding('utf8');
  if (!stdin.isTTY) {
    let text = '';
    for await (const chunk of stdin) text += String(chunk);
    return text.split('\n')[0]?.trim() ?? '';
  }
  stderr.write(question);
  stdin.setRawMode(true);
  try {
    return await typed(stdin);
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
}

function typed(stdin: NodeJS.ReadStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = '';
    const finish = (end: () => void): void => {
      stdin.removeListener('data', take);
      end();
    };
    const take = (chunk: string): void => {
      for (const letter of chunk) {
        if (letter === '\r' || letter === '\n') return finish(() => resolve(line.trim()));
        // Control-C and control-D: a raw terminal makes no signals of them.
        if (letter === '\x03' || letter === '\x04') return finish(() => reject(new ExitCode(INTERRUPTED)));
        if (BACKSPACE.has(letter)) line = line.slice(0, -1);
        else if (letter >= ' ') line += letter;
      }
    };
    stdin.on('data', take);
  });
}

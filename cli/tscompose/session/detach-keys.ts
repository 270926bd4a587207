import { TsswarmError } from '../../../base/errors.ts';

/**
 * Bytes of keys as `--detach-keys` names them: "ctrl-p,ctrl-q", a letter each, or ctrl- with a letter or one of @ [ \ ] ^ _. Empty:
 * none.
 * @throws INVALID_INPUT
 */
export function readDetachKeys(text: string): Uint8Array {
  if (text === '') return new Uint8Array();
  return Uint8Array.from(text.split(','), (word) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(word)?.[1];
    if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
    if (/^[\x21-\x7e]$/.test(word)) return word.charCodeAt(0);
    throw new TsswarmError('INVALID_INPUT', `using --detach-keys "${text}": "${word}" is no key`, {
      hint: 'keys are letters or ctrl-<letter>, with commas between: ctrl-p,ctrl-q',
    });
  });
}

/** Looks for the keys in what is typed. What could be their beginning is held back until it is known not to be. */
export class DetachWatch {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** @returns what is to be sent, and whether the keys were typed: then nothing after them counts */
  take(data: Uint8Array): { readonly send: Uint8Array; readonly detached: boolean } {
    if (this.#keys.length === 0) return { send: data, detached: false };
    const send: number[] = [];
    for (const byte of data) {
      if (byte !== this.#keys[this.#matched]) {
        send.push(...this.#keys.subarray(0, this.#matched));
        this.#matched = 0;
      }
      if (byte !== this.#keys[this.#matched]) send.push(byte);
      else if (++this.#matched === this.#keys.length) return { send: Uint8Array.from(send), detached: true };
    }
    return { send: Uint8Array.from(send), detached: false };
  }
}

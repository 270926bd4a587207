/**
 * An assembler of classic BPF as seccomp takes it: `struct sock_filter` of include/uapi/linux/filter.h. Jumps go forward
 * only and a conditional one reaches 255 instructions, so a program is built from its end to its beginning: each
 * instruction names targets that are already there, and a farther target gets a longer jump before it.
 */

/** A place in the program, counted from its end. */
export type Label = number;

export const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
export const AND = 0x54; // BPF_ALU | BPF_AND | BPF_K
export const JUMP = 0x05; // BPF_JMP | BPF_JA
export const IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
export const IF_GREATER = 0x25; // BPF_JMP | BPF_JGT | BPF_K
export const IF_AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
export const RETURN = 0x06; // BPF_RET | BPF_K

/** A program may have this many instructions: BPF_MAXINSNS. */
export const MAX_INSTRUCTIONS = 4096;

const FAR = 255;

interface Instruction {
  readonly code: number;
  readonly ifTrue: number;
  readonly ifFalse: number;
  readonly operand: number;
}

/** Builds one program, last instruction first. */
export class Assembler {
  readonly #reversed: Instruction[] = [];
  readonly #returns = new Map<number, Label>();

  get length(): number {
    return this.#reversed.length;
  }

  /** An instruction that goes on with `next`, whatever was emitted last. */
  then(code: number, operand: number, next: Label): Label {
    if (next !== this.length - 1) this.#jumpTo(next);
    return this.#push({ code, ifTrue: 0, ifFalse: 0, operand });
  }

  /** Ends with `value`; an earlier one is used again while a conditional jump reaches it. */
  return(value: number): Label {
    const known = this.#returns.get(value);
    if (known !== undefined && this.length - known < FAR - 2) return known;
    const label = this.#push({ code: RETURN, ifTrue: 0, ifFalse: 0, operand: value });
    this.#returns.set(value, label);
    return label;
  }

  /** Compares the accumulator with `operand`. */
  branch(code: number, operand: number, ifTrue: Label, ifFalse: Label): Label {
    if (ifTrue === ifFalse) return ifTrue;
    // The first long jump pushes the other target one farther away.
    const near = (label: Label, margin: number): Label =>
      this.length + margin - label - 1 > FAR ? this.#jumpTo(label) : label;
    const falseTarget = near(ifFalse, 1);
    const trueTarget = near(ifTrue, 0);
    return this.#push({
      code,
      ifTrue: this.length - trueTarget - 1,
      ifFalse: this.length - falseTarget - 1,
      operand,
    });
  }

  /** The program in the byte order of the machines we run on, beginning with the instruction that was emitted last. */
  toBytes(): Buffer {
    const bytes = Buffer.alloc(this.length * 8);
    this.#reversed.toReversed().forEach(({ code, ifTrue, ifFalse, operand }, index) => {
      bytes.writeUInt16LE(code, index * 8);
      bytes.writeUInt8(ifTrue, index * 8 + 2);
      bytes.writeUInt8(ifFalse, index * 8 + 3);
      bytes.writeUInt32LE(operand, index * 8 + 4);
    });
    return bytes;
  }

  #jumpTo(label: Label): Label {
    return this.#push({ code: JUMP, ifTrue: 0, ifFalse: 0, operand: this.length - label - 1 });
  }

  #push(instruction: Instruction): Label {
    return this.#reversed.push(instruction) - 1;
  }
}

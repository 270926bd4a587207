/** What is wrong with a template; the message is the reason alone, to be put into a sentence by whoever knows where the template stands. */
export class TemplateFault extends Error {
  override readonly name = 'TemplateFault';
  /** Where in the text, in characters from its beginning. */
  readonly offset: number;

  constructor(reason: string, offset: number) {
    super(reason);
    this.offset = offset;
  }
}

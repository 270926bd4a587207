import { TemplateFault } from './fault.ts';
import type { TemplateFunctions } from './functions.ts';
import { parseTemplate } from './parse.ts';
import type { Pipeline, Template, Term } from './parse.ts';
import { isTrue, printed } from './values.ts';

interface Scope {
  readonly dot: unknown;
  readonly variables: ReadonlyMap<string, unknown>;
}

export interface CompileOptions {
  readonly functions: TemplateFunctions;
  /** What a field of a `Map` is that the map has not: printed as "<no value>", or refused. */
  readonly missing: 'no value' | 'refused';
}

/**
 * A template, ready to be filled: the part of Go's text/template that Docker's users write: fields, pipelines, if, with, range, and
 * the given functions.
 * @returns fills it with an object; a field that the object does not have is refused
 * @throws TemplateFault, and so does what is returned
 */
export function compileTemplate(text: string, options: CompileOptions): (data: unknown) => string {
  const template = parseTemplate(text, (name) => Object.hasOwn(options.functions, name));
  return (data) => new Evaluation(options).render(template, { dot: data, variables: new Map([['$', data]]) });
}

class Evaluation {
  readonly #options: CompileOptions;
  /** Where the action begins that is being carried out. */
  #at = 0;
  constructor(options: CompileOptions) {
    this.#options = options;
  }

  render(template: Template, scope: Scope): string {
    return template
      .map((part) => {
        if (part.kind !== 'text') this.#at = part.at;
        switch (part.kind) {
          case 'text':
            return part.text;
          case 'print':
            return printed(this.#pipeline(part.pipeline, scope));
          case 'if':
            return this.render(isTrue(this.#pipeline(part.test, scope)) ? part.then : part.otherwise, scope);
          case 'with': {
            const dot = this.#pipeline(part.test, scope);
            return isTrue(dot) ? this.render(part.then, { ...scope, dot }) : this.render(part.otherwise, scope);
          }
          case 'range': {
            const entries = this.#entries(this.#pipeline(part.over, scope));
            if (entries.length === 0) return this.render(part.none, scope);
            return entries
              .map(([key, value]) => {
                const variables = new Map(scope.variables);
                if (part.key !== '') variables.set(part.key, key);
                if (part.value !== '') variables.set(part.value, value);
                return this.render(part.each, { dot: value, variables });
              })
              .join('');
          }
        }
      })
      .join('');
  }

  #pipeline(pipeline: Pipeline, scope: Scope): unknown {
    let piped: readonly unknown[] = [];
    for (const command of pipeline) {
      const [first, ...others] = command;
      if (first === undefined) continue;
      const args = [...others.map((term) => this.#term(term, scope)), ...piped];
      if (first.kind === 'call') piped = [this.#call(first.name, args)];
      else if (args.length > 0) throw this.#fault('a value is given arguments, as if it were a function');
      else piped = [this.#term(first, scope)];
    }
    return piped[0];
  }

  #term(term: Term, scope: Scope): unknown {
    switch (term.kind) {
      case 'value':
        return term.value;
      case 'call':
        return this.#call(term.name, []);
      case 'pipeline':
        return this.#pipeline(term.pipeline, scope);
      case 'variable':
        if (scope.variables.has(term.name)) return scope.variables.get(term.name);
        throw this.#fault(`there is no variable "${term.name}"`);
      case 'field': {
        const base = term.of === 'dot' ? scope.dot : this.#term(term.of, scope);
        return term.path.reduce((value, name) => this.#field(value, name), base);
      }
    }
  }

  #field(value: unknown, name: string): unknown {
    if (value instanceof Map) {
      if (this.#options.missing === 'refused' && !value.has(name)) throw this.#fault(`there is no "${name}"`);
      return value.get(name);
    }
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#fault(`".${name}" is asked of what has no fields`);
    if (Object.hasOwn(value, name)) return (value as Readonly<Record<string, unknown>>)[name];
    throw this.#fault(`there is no field "${name}", expected one of ${Object.keys(value).join(', ')}`);
  }

  #call(name: string, args: readonly unknown[]): unknown {
    try {
      return this.#options.functions[name]?.(...args);
    } catch (error) {
      throw this.#fault(`${name}: ${(error as Error).message}`);
    }
  }

  #fault(reason: string): TemplateFault {
    return new TemplateFault(reason, this.#at);
  }

  #entries(value: unknown): readonly (readonly [unknown, unknown])[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value.map((one, index) => [index, one] as const);
    if (value instanceof Map) return [...(value as Map<string, unknown>)].sort(([a], [b]) => (a < b ? -1 : 1));
    throw this.#fault('range goes over lists and maps only');
  }
}

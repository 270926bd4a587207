import { EVENT_ID, SCALAR_STYLE, YAMLException, getScalarValue, parseEvents, CORE_SCHEMA } from 'js-yaml';
import type { Event, ScalarEvent } from 'js-yaml';
import { TsswarmError } from '../../base/errors.ts';
import type { SourceLocation } from '../../base/errors.ts';
import type { MapEntry, MergeTag, TreeNode } from '../types/node.ts';

/** Deeper files are mistakes or attacks. */
const MAX_DEPTH = 100;
/** Nodes a file may unfold to through aliases ("billion laughs"). */
const MAX_NODES = 200_000;

/**
 * Reads a YAML file into located trees, one per document. YAML 1.2 core scalars as compose files use them: `yes` and
 * `22:22` stay text, `0755` is octal; duplicate keys are errors.
 * @throws INVALID_COMPOSE with the place
 */
export function parseYaml(text: string, file: string): readonly TreeNode[] {
  const source = text.startsWith('\uFEFF') ? text.slice(1) : text;
  const locate = locator(source, file);
  let events: Event[];
  try {
    events = parseEvents(source, { filename: file, maxDepth: MAX_DEPTH });
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const { line, column } = error.mark ?? { line: 0, column: 0 };
    throw new TsswarmError('INVALID_COMPOSE', `reading YAML: ${error.reason}`, {
      where: { file, line: line + 1, column: column + 1 },
    });
  }
  return new TreeBuilder(source, events, locate).documents();
}

function locator(source: string, file: string): (offset: number) => SourceLocation {
  const starts = [0];
  for (let i = source.indexOf('\n'); i >= 0; i = source.indexOf('\n', i + 1)) starts.push(i + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { file, line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  };
}

class TreeBuilder {
  #next = 0;
  #nodes = 0;
  #lastOffset = 0;
  #anchors = new Map<string, TreeNode>();
  readonly #source: string;
  readonly #events: readonly Event[];
  readonly #locate: (offset: number) => SourceLocation;

  constructor(source: string, events: readonly Event[], locate: (offset: number) => SourceLocation) {
    this.#source = source;
    this.#events = events;
    this.#locate = locate;
  }

  documents(): TreeNode[] {
    const documents: TreeNode[] = [];
    while (this.#next < this.#events.length) {
      const event = this.#events[this.#next++];
      if (event?.type !== EVENT_ID.DOCUMENT) continue;
      this.#anchors = new Map();
      if (this.#events[this.#next]?.type === EVENT_ID.POP)
        documents.push({ kind: 'scalar', value: null, where: this.#locate(0) });
      else documents.push(this.#node());
    }
    return documents;
  }

  #node(): TreeNode {
    const event = this.#events[this.#next++];
    if (event === undefined || event.type === EVENT_ID.POP || event.type === EVENT_ID.DOCUMENT) {
      throw new Error('YAML events out of order');
    }
    if (++this.#nodes > MAX_NODES) {
      throw new TsswarmError('INVALID_COMPOSE', `reading YAML: the file unfolds to more than ${MAX_NODES} values`, {
        where: this.#locate(0),
      });
    }
    if (event.type === EVENT_ID.ALIAS) return this.#alias(event.anchorStart, event.anchorEnd);
    const tag = this.#tag(event.tagStart, event.tagEnd);
    let node: TreeNode;
    if (event.type === EVENT_ID.SCALAR) node = this.#scalar(event, tag.explicit);
    else if (event.type === EVENT_ID.SEQUENCE) node = this.#list(event.start);
    else node = this.#map(event.start);
    if (tag.merge !== undefined) node = { ...node, tag: tag.merge };
    if (event.anchorStart >= 0) this.#anchors.set(this.#source.slice(event.anchorStart, event.anchorEnd), node);
    return node;
  }

  #alias(start: number, end: number): TreeNode {
    const name = this.#source.slice(start, end);
    const node = this.#anchors.get(name);
    if (node !== undefined) {
      this.#nodes += sizeOf(node);
      return node;
    }
    throw new TsswarmError('INVALID_COMPOSE', `reading YAML: alias "*${name}" has no anchor before it`, {
      where: this.#locate(start),
    });
  }

  #tag(start: number, end: number): { readonly merge?: MergeTag; readonly explicit?: 'str' } {
    if (start < 0) return {};
    const text = this.#source.slice(start, end);
    if (text === '!reset') return { merge: 'reset' };
    if (text === '!override') return { merge: 'override' };
    if (text === '!!str') return { explicit: 'str' };
    if (['!!map', '!!seq', '!!int', '!!bool', '!!float', '!!null', '!!merge'].includes(text)) return {};
    throw new TsswarmError(
      'INVALID_COMPOSE',
      `reading YAML: tag "${text}" means nothing in a compose file, expected !reset or !override`,
      {
        where: this.#locate(start),
      },
    );
  }

  #scalar(event: ScalarEvent, explicit: 'str' | undefined): TreeNode {
    // A quoted value begins at its quote, where an editor puts the cursor.
    const quote = event.style === SCALAR_STYLE.SINGLE_QUOTED || event.style === SCALAR_STYLE.DOUBLE_QUOTED ? 1 : 0;
    const where = this.#locate(event.valueStart >= 0 ? event.valueStart - quote : this.#lastOffset);
    if (event.valueStart >= 0) this.#lastOffset = event.valueStart;
    const text = event.valueStart < 0 ? '' : getScalarValue(this.#source, event);
    const plain = event.style === SCALAR_STYLE.PLAIN && explicit === undefined;
    return { kind: 'scalar', value: plain ? resolvePlain(text) : text, where };
  }

  #list(start: number): TreeNode {
    const items: TreeNode[] = [];
    while (this.#events[this.#next]?.type !== EVENT_ID.POP) items.push(this.#node());
    this.#next++;
    return { kind: 'list', items, where: this.#locate(start) };
  }

  #map(start: number): TreeNode {
    const entries = new Map<string, MapEntry>();
    const merged: TreeNode[] = [];
    while (this.#events[this.#next]?.type !== EVENT_ID.POP) {
      const key = this.#node();
      if (key.kind !== 'scalar') {
        throw new TsswarmError('INVALID_COMPOSE', 'reading YAML: a key is a list or map, expected text', {
          where: key.where,
        });
      }
      const node = this.#node();
      const name = String(key.value ?? 'null');
      if (name === '<<') merged.push(...(node.kind === 'list' ? node.items : [node]));
      else if (entries.has(name)) {
        throw new TsswarmError('INVALID_COMPOSE', `reading YAML: key "${name}" stands twice in the same map`, {
          where: key.where,
        });
      } else entries.set(name, { keyWhere: key.where, node });
    }
    this.#next++;
    for (const base of merged) {
      if (base.kind !== 'map') {
        throw new TsswarmError('INVALID_COMPOSE', 'reading YAML: "<<" merges something that is not a map', {
          where: base.where,
        });
      }
      for (const [name, entry] of base.entries) if (!entries.has(name)) entries.set(name, entry);
    }
    return { kind: 'map', entries, where: this.#locate(start) };
  }
}

/** A plain scalar's value: core schema, and octal numbers with a leading zero as Go's YAML reads them. */
function resolvePlain(text: string): string | number | boolean | null {
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  const { value } = CORE_SCHEMA.resolveImplicitScalarTag(text);
  return typeof value === 'number' || typeof value === 'boolean' || value === null ? value : text;
}

function sizeOf(node: TreeNode): number {
  if (node.kind === 'scalar') return 1;
  let size = 1;
  for (const child of node.kind === 'list' ? node.items : [...node.entries.values()].map((entry) => entry.node))
    size += sizeOf(child);
  return size;
}

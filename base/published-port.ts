/** Numbers that ports are published on. */

/** Swarm's range for ports that the user left open. */
export const FIRST_DYNAMIC_PORT = 30_000;
export const LAST_DYNAMIC_PORT = 32_767;

/** What a user wishes: a number, one out of a range, or any (`published` 0). */
export interface PublishedNumber {
  readonly published: number;
  readonly publishedEnd?: number;
}

/** Whether the number is still to be chosen. */
export const isOpenPort = ({ published, publishedEnd }: PublishedNumber): boolean =>
  published === 0 || publishedEnd !== undefined;

/** First and last of the numbers out of which one is chosen; the same for one that is named. */
export const numbersOf = ({ published, publishedEnd = published }: PublishedNumber): readonly [number, number] =>
  published === 0 ? [FIRST_DYNAMIC_PORT, LAST_DYNAMIC_PORT] : [published, publishedEnd];

/** "8080", "8000-8010", "0" */
export const numberWords = ({ published, publishedEnd }: PublishedNumber): string =>
  publishedEnd === undefined ? String(published) : `${published}-${publishedEnd}`;

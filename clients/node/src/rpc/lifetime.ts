/** Iterators that end when they are done, when their consumer closes them, or when a signal aborts. */

/** A signal that aborts when `outer` aborts or when the consumer closes. */
export class Lifetime {
  readonly #controller = new AbortController();
  #closed = false;

  constructor(outer?: AbortSignal) {
    if (outer?.aborted) this.#controller.abort(outer.reason);
    // The own signal removes the listener, so a long-lived outer signal does not collect listeners.
    else outer?.addEventListener("abort", () => this.#controller.abort(outer.reason), { signal: this.signal });
  }

  /** Aborts all work of the iterator. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The consumer has closed the iterator, which is not an error. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the iterator. Has no effect after the outer signal has aborted. */
  close(): void {
    if (this.signal.aborted) return;
    this.#closed = true;
    this.#controller.abort();
  }
}

/**
 * An async iterator that can be closed while a read waits for its next value: closing ends the iteration and cancels
 * the call. A plain generator would finish neither before the next value.
 */
export class ClosableIterator<T> implements AsyncIterableIterator<T>, AsyncDisposable {
  readonly #lifetime: Lifetime;
  readonly #values: AsyncGenerator<T, void>;

  /** `generate` stops when its signal aborts. */
  constructor(generate: (signal: AbortSignal) => AsyncGenerator<T, void>, outer?: AbortSignal) {
    this.#lifetime = new Lifetime(outer);
    this.#values = generate(this.#lifetime.signal);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    try {
      const result = await this.#values.next();
      if (!result.done) return result;
      this.#lifetime.close();
    } catch (error) {
      const { closed } = this.#lifetime;
      // Removes the listener from the outer signal, which may live on.
      this.#lifetime.close();
      if (!closed) throw error;
    }
    return { done: true, value: undefined };
  }

  /** Ends the iteration and cancels its call. `for await` calls it when the loop is left early. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#lifetime.close();
    await this.#values.return().catch(() => undefined);
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

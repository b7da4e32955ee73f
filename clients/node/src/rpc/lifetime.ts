/** How long an iterator lives: until it is done, its consumer closes it, or a signal aborts it. */

/** A signal that aborts with `outer`, and when the consumer closes. */
export class Lifetime {
  readonly #controller = new AbortController();
  #closed = false;

  constructor(outer?: AbortSignal) {
    if (outer?.aborted) this.#controller.abort(outer.reason);
    // Bound to our own signal as well, so that a long-lived outer one does not collect listeners.
    else outer?.addEventListener("abort", () => this.#controller.abort(outer.reason), { signal: this.signal });
  }

  /** For what runs on behalf of the iterator. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The consumer wants no more; that is no error. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends it. Has no effect on what an outer signal ended. */
  close(): void {
    if (this.signal.aborted) return;
    this.#closed = true;
    this.#controller.abort();
  }
}

/**
 * An async iterator that can be closed while somebody waits for its next value: the wait then ends the
 * iteration, and the call behind it is cancelled. A bare generator would let both wait.
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
      // It is over: an outer signal that lives on must not keep our listener.
      this.#lifetime.close();
      if (!closed) throw error;
    }
    return { done: true, value: undefined };
  }

  /** Ends the iteration and cancels its call. `for await` does so when it is left early. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.#lifetime.close();
    await this.#values.return().catch(() => undefined);
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

/** An EventTarget whose events have types. */

/** `T` has the details of the events by name; a listener gets a CustomEvent with `detail`. */
export class Emitter<T extends object> extends EventTarget {
  override addEventListener<K extends keyof T & string>(
    type: K,
    listener: (event: CustomEvent<T[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: never, options?: boolean | AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }

  /** Calls `listener` with the detail of each event; returns the function that ends this. */
  on<K extends keyof T & string>(type: K, listener: (detail: T[K]) => void): () => void {
    const receive = (event: CustomEvent<T[K]>): void => listener(event.detail);
    this.addEventListener(type, receive);
    return () => this.removeEventListener(type, receive as EventListener);
  }

  /** @internal */
  protected emit<K extends keyof T & string>(type: K, detail: T[K]): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

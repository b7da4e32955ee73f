/** A TCP proxy that parses HTTP/2 frames: it counts bytes, freezes connections and damages data. */

import { EventEmitter, once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { TestContext } from "node:test";

import { connect as connectClient, type ConnectOptions, type MismoClient } from "mismo-client";

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const DATA = 0;
const RST_STREAM = 3;
/** A DATA frame of this size contains audio in its middle. */
const LARGE_FRAME_BYTES = 4096;

export type Side = "client" | "server";

/** Parses the HTTP/2 frames of one direction. On request it damages the middle of the next large DATA frame. */
class Frames {
  #header: number[] = [];
  #skip: number;
  #left = 0;
  #damageAt = -1;

  constructor(
    private readonly from: Side,
    private readonly proxy: Proxy,
  ) {
    this.#skip = from === "client" ? PREFACE_BYTES : 0;
  }

  pass(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const ahead = this.#skip || this.#left;
      if (ahead === 0) {
        this.#header.push(chunk[at++]!);
        if (this.#header.length === FRAME_HEADER_BYTES) this.#begin();
        continue;
      }
      const step = Math.min(ahead, chunk.length - at);
      if (this.#skip > 0) this.#skip -= step;
      else {
        if (this.#damageAt >= 0 && this.#damageAt < step) chunk[at + this.#damageAt]! ^= 0xff;
        this.#damageAt -= step;
        this.#left -= step;
      }
      at += step;
    }
  }

  #begin(): void {
    const [a, b, c, type] = this.#header as [number, number, number, number];
    this.#left = (a << 16) | (b << 8) | c;
    this.#header = [];
    this.#damageAt = -1;
    if (type === RST_STREAM) this.proxy.sawReset(this.from);
    if (type === DATA && this.#left > LARGE_FRAME_BYTES && this.proxy.takeDamage(this.from)) {
      this.#damageAt = this.#left >> 1;
    }
  }
}

export class Proxy extends EventEmitter {
  /** Over all connections. */
  bytesFromServer = 0;
  connections = 0;
  damaged = 0;
  #damage: Side | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #frozen = new Set<Socket>();

  private constructor(private readonly target: number) {
    super();
    this.#server = createServer((client) => this.#join(client));
  }

  /** A client that reaches the server on `port` through a proxy; both are closed when the test ends. */
  static async before(
    port: number,
    context: TestContext,
    options?: ConnectOptions,
  ): Promise<{ proxy: Proxy; distant: MismoClient }> {
    const proxy = new Proxy(port);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    const { port: own } = proxy.#server.address() as AddressInfo;
    const distant = connectClient(`127.0.0.1:${own}`, options);
    context.after(() => {
      distant.close();
      proxy.cut();
      proxy.#server.close();
    });
    return { proxy, distant };
  }

  /** Flips a byte in the next large frame from there. */
  damageNext(from: Side): void {
    this.#damage = from;
  }

  /** Keeps the present connections open but stops their data. Later connections work. */
  freeze(): void {
    for (const socket of this.#sockets) {
      this.#frozen.add(socket);
      socket.pause();
    }
  }

  /** Cuts the present connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** @internal */
  takeDamage(from: Side): boolean {
    if (this.#damage !== from) return false;
    this.#damage = undefined;
    this.damaged += 1;
    return true;
  }

  /** @internal */
  sawReset(from: Side): void {
    this.emit(`reset by ${from}`);
  }

  #join(client: Socket): void {
    this.connections += 1;
    const server = connect(this.target, "127.0.0.1");
    this.#pass(client, server, new Frames("client", this));
    this.#pass(server, client, new Frames("server", this), (bytes) => {
      this.bytesFromServer += bytes;
      this.emit("from server");
    });
  }

  #pass(from: Socket, to: Socket, frames: Frames, count?: (bytes: number) => void): void {
    this.#sockets.add(from);
    from.on("data", (chunk: Buffer) => {
      frames.pass(chunk);
      count?.(chunk.length);
      if (!to.write(chunk)) {
        from.pause();
        to.once("drain", () => this.#frozen.has(from) || from.resume());
      }
    });
    from.on("error", () => to.destroy());
    from.on("close", () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}

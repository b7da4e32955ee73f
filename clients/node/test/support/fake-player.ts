/** A StemPlayer and the call that it makes to a server in this process. */

import assert from "node:assert/strict";
import type { TestContext } from "node:test";

import type { StemChunk, StemPlayer, StemStreamOptions } from "mismo-client";

import type {
  StreamOpen,
  StreamStemsRequest,
  StreamStemsResponse,
} from "#dist/generated/mismo/analysis/v1/transfer_service.js";

import { type FakeCall, FakeServer } from "./fake-server.js";
import { JOB, samples, sent } from "./fake-stems.js";

type Call = FakeCall<StreamStemsRequest, StreamStemsResponse>;

/** A player, its server, and the call that its first read opens. */
export async function play(context: TestContext, options: StemStreamOptions = {}) {
  const waits: string[] = [];
  const { server, client } = await FakeServer.start(context, { onRetry: (error) => waits.push(error.name) });
  const player = client.streamStems(JOB, options);
  context.after(() => player.close());
  const format = player.format();
  format.catch(() => undefined);
  const { call, open } = await nextCall(server);
  return { server, client, player, call, open, format, waits };
}

/** The next call that a player opens, and its first message. */
export async function nextCall(server: FakeServer): Promise<{ call: Call; open: StreamOpen }> {
  const call = await server.streamStems.next();
  return { call, open: sent("open", await call.received()) };
}

/** Reads one chunk, whose samples must be those of its stem and frames. */
export async function read(player: StemPlayer): Promise<StemChunk> {
  const { value, done } = await player.next();
  assert.ok(!done && value);
  const { stemIndex, startFrame, frameCount } = value;
  assert.ok(value.data.equals(samples(stemIndex, startFrame, startFrame + frameCount)));
  return value;
}

/** Reads all chunks up to the end. */
export async function readAll(player: StemPlayer): Promise<StemChunk[]> {
  const chunks: StemChunk[] = [];
  for await (const chunk of player) chunks.push(chunk);
  return chunks;
}

export const positions = (chunks: StemChunk[]): [string, number][] =>
  chunks.map(({ stemName, startFrame }) => [stemName, startFrame]);

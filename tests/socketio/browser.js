// A browser with socket.io-client: `node browser.js URL OPTIONS`. It reads commands as lines of JSON and writes what
// happens as lines of JSON, until its input ends. OPTIONS are those of the client, and `follow`: a job to subscribe to at
// every connect, as pages do.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url, given] = process.argv.slice(2);
const { follow, ...options } = JSON.parse(given);
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, forceNew: true, ...options });

function tell(event, data = null) {
  process.stdout.write(JSON.stringify({ event, data }) + "\n");
}

socket.io.on("open", () => {
  tell("open", { transport: socket.io.engine.transport.name });
  socket.io.engine.once("upgrade", (transport) => tell("upgrade", { transport: transport.name }));
});
socket.on("connect", () => {
  tell("connect");
  if (follow) socket.emit("subscribe", { job_id: follow });
});
socket.on("connect_error", (error) => tell("connect_error", { message: error.message, context: error.context?.status ?? null }));
socket.on("disconnect", (reason) => tell("disconnect", { reason }));
socket.onAny((event, data) => tell(event, data));

const commands = {
  emit: (event, ...data) => socket.emit(event, ...data),
  ask: (event, ...data) => socket.emit(event, ...data, (answer) => tell("ack", answer)),
  long: (event, length) => socket.emit(event, { job_id: "x".repeat(length) }),
  cut: () => socket.io.engine.close(),
  raw: (packet) => socket.io.engine.write(packet),
  open: () => socket.connect(),
  close: () => socket.disconnect(),
};
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [what, ...data] = JSON.parse(line);
    commands[what](...data);
  })
  .on("close", () => process.exit(0));

// Runs scripts, one after the other in one namespace, under 32-bit MicroPython (WebAssembly), with given files in its memory file system.
// Usage: node wasm32.mjs MICROPYTHON_MJS JOB_JSON
// The job: {"scripts": [text, ...], "files": {path: base64}, "heapsize": bytes, "ticks_ms": what ticks_ms() starts from}
import fs from "fs";
import { pathToFileURL } from "url";

const [module, job_path] = process.argv.slice(2);
process.argv.length = 1; // or the module takes our arguments for its own
await import(pathToFileURL(module));
const job = JSON.parse(fs.readFileSync(job_path, "utf8"));

const mp = await globalThis.loadMicroPython({
  heapsize: job.heapsize,
  stdout: (data) => process.stdout.write(data),
  linebuffer: false,
});
for (const [path, text] of Object.entries(job.files)) {
  mp.FS.mkdirTree(path.slice(0, path.lastIndexOf("/")) || "/");
  mp.FS.writeFile(path, Buffer.from(text, "base64"));
}
// ticks_ms() counts from the moment the module was loaded, by Date.now(): move that clock forward.
const now = Date.now;
Date.now = () => now() + job.ticks_ms;
try {
  for (const script of job.scripts) mp.runPython(script); // garbage is collected when one returns
} catch (error) {
  if (error.type !== "SystemExit") {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

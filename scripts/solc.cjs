#!/usr/bin/env node
// The Solidity compiler as the executable that forge expects: `--version`, and `--standard-json` on stdin.
"use strict";
const fs = require("fs");
const path = require("path");
const { Worker, isMainThread, workerData } = require("worker_threads");

const SOLJSON = path.join(__dirname, "..", ".state", "solc", "soljson.js");

function compiler() {
  const soljson = require(SOLJSON);
  return {
    version: soljson.cwrap("solidity_version", "string", []),
    compile: soljson.cwrap("solidity_compile", "string", ["string", "number", "number"]),
  };
}

// stdout may be a pipe that takes less than we offer.
function writeAll(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

const args = isMainThread ? process.argv.slice(2) : workerData;
if (args.includes("--version")) {
  const version = compiler().version().replace(".Emscripten.clang", ".Linux.g++");
  writeAll(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (!args.includes("--standard-json")) {
  process.stderr.write("usage: solc --version | solc --standard-json < input.json\n");
  process.exitCode = 2;
} else if (isMainThread) {
  // The optimizer recurses deeper than node's default stack goes; only a thread can be given a larger one.
  const worker = new Worker(__filename, { workerData: args, resourceLimits: { stackSizeMb: 256 } });
  worker.on("error", (error) => {
    process.stderr.write(`solc: ${error.stack}\n`);
    process.exitCode = 1;
  });
} else {
  writeAll(compiler().compile(fs.readFileSync(0, "utf8"), 0, 0));
}

#!/usr/bin/env node
// solc from npm with the two options that py-solc-x needs. The package's own `solcjs` prints a notice about SMT
// solvers before its JSON, and refuses options that py-solc-x passes. All sources come in the input: no imports
// are looked up.
"use strict";

const fs = require("fs");
const solc = require("solc");

const options = process.argv.slice(2);
if (options.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler\nVersion: ${solc.version()}\n`);
} else if (options.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  process.stderr.write("solc.js takes --version or --standard-json\n");
  process.exit(1);
}

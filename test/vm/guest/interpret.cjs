// V8's compiled code is lost track of now and then under emulation (an abort with "Check failed: it->second.Size() > offset", or a
// crash). Preloaded there by the suite that starts and kills the most Nodes: JavaScript is interpreted.
const { setFlagsFromString } = require('node:v8');

for (const flag of ['--no-opt', '--no-maglev', '--regexp-interpret-all']) setFlagsFromString(flag);

// Undoes what killed processes left in this network namespace and says what that was.
// Argument: folder of the compiled sources.
const dist = process.argv[2];
const { cleanUpHost } = await import(`${dist}/datapath/tun/host/host-setup.js`);
const { describe } = await import(`${dist}/datapath/tun/host/host-change.js`);
const cleanups = cleanUpHost().map((cleanup) => ({ ...cleanup, undone: cleanup.undone.map(describe) }));
process.stdout.write(`${JSON.stringify(cleanups)}\n`);

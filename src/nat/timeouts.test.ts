/** Both timeout profiles against where they come from: IPVS's against the reference, the default against the design. */
import { expect, test } from "vitest";
import { referenceRows } from "../../test/golden/reference/reference-table.ts";
import { DEFAULT_TIMEOUTS, IPVS_TIMEOUTS, sctpTimeoutList, tcpTimeoutList } from "./timeouts.ts";

test("the ipvs profile has the reference's seconds", () => {
  const tcp = referenceRows("tcp-timeouts.txt").slice(0, 11);
  expect(tcpTimeoutList(IPVS_TIMEOUTS.tcp)).toEqual(tcp.map((row) => Number(row[2])));
  const sctp = referenceRows("sctp-timeouts.txt");
  expect(sctpTimeoutList(IPVS_TIMEOUTS)).toEqual([
    ...sctp.map((row) => Number(row[2])),
    ...sctp.map((row) => Number(row[6])),
  ]);
  expect(IPVS_TIMEOUTS.udp).toBe(300);
});

test("the default profile: SYN states 60 s, ESTABLISHED 900 s, FIN states 60 s, UDP 300 s, the rest as IPVS", () => {
  expect(DEFAULT_TIMEOUTS.tcp).toEqual({
    ...IPVS_TIMEOUTS.tcp,
    ...{ synSent: 60, synReceived: 60, synAck: 60 },
    ...{ established: 900 },
    ...{ finWait: 60, timeWait: 60, closeWait: 60, lastAck: 60 },
  });
  expect(DEFAULT_TIMEOUTS.udp).toBe(300);
  expect(DEFAULT_TIMEOUTS.sctp).toEqual(IPVS_TIMEOUTS.sctp);
});

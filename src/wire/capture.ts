/**
 * Reading a capture file of either format. Formats: pcap.ts, pcapng.ts; what is in front of the IP packet of a record:
 * link-layer.ts.
 */
import { CaptureError, type CaptureRecord } from "./capture-record.ts";
import { isPcap, readPcap } from "./pcap.ts";
import { isPcapng, readPcapng } from "./pcapng.ts";

/**
 * The records of a capture file, read lazily and without copying.
 * @param file - the whole file
 * @throws CaptureError: at once for another format, while iterating for a damaged file, after the records before
 */
export function readCapture(file: Uint8Array): Iterable<CaptureRecord> {
  if (isPcapng(file)) return readPcapng(file);
  if (isPcap(file)) return readPcap(file);
  const found = [...file.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const hint = found.startsWith("1f 8b") ? "; it is compressed with gzip: unpack it first" : "";
  const begins = file.length === 0 ? "the file is empty" : `it begins with ${found}`;
  throw new CaptureError("unsupported", 0, `${begins}, expected pcap or pcapng${hint}`);
}

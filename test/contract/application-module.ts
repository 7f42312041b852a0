/**
 * What every application module has to stand: its dialogue cut at every byte, repeated, reordered and merged; damaged payloads;
 * and whatever it announced being gone in the end.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ApplicationModule } from "../../src/alg/engine/module.ts";
import { census } from "../support/census.ts";
import { fuzzModule } from "../support/module-fuzz.ts";
import { tcp, udp } from "../support/packet-builder.ts";
import { checkPacket, valid } from "../support/packet-check.ts";
import type { Stage } from "../support/stage.ts";
import { type Place, Story } from "../support/story.ts";

/** VSNAT_FUZZ_PAYLOADS=1000000 for what a release has to stand. */
const FUZZ_PAYLOADS = Number(process.env.VSNAT_FUZZ_PAYLOADS ?? 20_000);

export interface Conduct {
  /** Dialogues of each kind: a server behind the director, a client going out, IPv6, and so on. */
  readonly places: readonly Place[];
  /** Stories of each place that is of TCP. */
  readonly runs?: number;
}

export function describeModule({ name }: ApplicationModule, { places, runs = 40 }: Conduct): void {
  const countersOf = (stage: Stage) =>
    stage.control.status().applications.find((one) => one.name === name)!.counters;
  const changedCount = (place: Place) => place.said.filter(([, , heard]) => heard !== undefined).length;

  const expectGone = (stage: Stage): void => {
    expect(census(stage.director)).toEqual([]);
    stage.run(14_400_000);
    expect(stage.connections()).toEqual([]);
    expect(stage.control.status().applications.flatMap(({ ports }) => ports)).toEqual([]);
  };

  describe.each(places.map((place) => [place.name, place] as const))(`module ${name}: %s`, (_, place) => {
    const isTcp = (place.transport ?? "tcp") === "tcp";

    test(isTcp ? "cut at every byte" : "datagram by datagram", { timeout: 240_000 }, () => {
      const whole = isTcp ? playCut(place, -1, 0) : playDatagrams(place);
      expect(countersOf(whole)).toMatchObject({ rewritten: changedCount(place), failed: 0, noRoom: 0 });
      expectGone(whole);
      if (!isTcp) return;
      place.said.forEach(([, text], turn) => {
        for (let cut = 1; cut < text.length; cut++) playCut(place, turn, cut);
      });
    });

    test.runIf(isTcp)("played over bad networks", { timeout: 240_000 }, () => {
      let rewritten = 0;
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
          const counters = countersOf(new Story(seed, place).play());
          rewritten += counters.rewritten;
          expect([counters.failed, counters.noPlace, counters.foreign, counters.lowPort]).toEqual([
            0, 0, 0, 0,
          ]);
        }),
        { numRuns: runs, seed: 1 },
      );
      expect(rewritten).toBe(changedCount(place) * runs);
    });

    test(`${FUZZ_PAYLOADS} damaged payloads`, { timeout: 600_000 }, () => {
      const { stage, nsPerByte, worstNsPerByte } = fuzzModule(place, FUZZ_PAYLOADS, 1);
      if (process.env.VSNAT_FUZZ_PAYLOADS !== undefined)
        process.stdout.write(
          `${name}, ${place.name}: ${FUZZ_PAYLOADS} payloads, ${nsPerByte.toFixed(1)} ns a byte, ${worstNsPerByte.toFixed(1)} in the worst thousand\n`,
        );
      expect(countersOf(stage).failed).toBe(0);
      expectGone(stage);
    });
  });
}

/** The dialogue without trouble, each turn in a segment, but one that is cut in two. */
function playCut(place: Place, cutTurn: number, cutAt: number): Stage {
  const stage = place.stage();
  const { outside, inside, said } = place;
  const next = { client: 1, server: 1 };
  /** What the other side has heard, as it numbers it. */
  const rewritten = { client: 1, server: 1 };
  const send = (side: "client" | "server", flags: string, text: string): string => {
    const other = side === "client" ? "server" : "client";
    const [from, to] = side === "client" ? outside : [inside[1], inside[0]];
    const payload = Uint8Array.from(text, (one) => one.charCodeAt(0));
    const isFirst = flags.includes("S");
    const { verdict, bytes } = stage.send(
      tcp({
        from,
        to,
        flags,
        seq: isFirst ? 0 : next[side],
        ack: flags === "S" ? 0 : rewritten[other],
        payload,
      }),
    );
    expect(verdict).toBe(`to-${other}`);
    if (stage.packet.isChecksumPartial === false) checkPacket(bytes, valid());
    next[side] += text.length;
    const transportAt = bytes[0]! >> 4 === 4 ? 20 : 40;
    // A byte the other side has long had only asks for an acknowledgment.
    const old = rewritten[side] - new DataView(bytes.buffer, bytes.byteOffset).getUint32(transportAt + 4);
    return String.fromCharCode(...bytes.subarray(transportAt + 20 + Math.max(0, old)));
  };
  send("client", "S", "");
  send("server", "SA", "");
  send("client", "A", "");
  said.forEach(([side, text, wanted = text], turn) => {
    const other = side === "client" ? "server" : "client";
    const before = rewritten[side];
    let heard = "";
    for (const part of turn === cutTurn ? [text.slice(0, cutAt), text.slice(cutAt)] : [text]) {
      heard += send(side, "AP", part);
      rewritten[side] = before + heard.length;
      send(other, "A", "");
    }
    expect(heard, `turn ${turn}, cut at ${turn === cutTurn ? cutAt : "no byte"}`).toBe(wanted);
  });
  return stage;
}

function playDatagrams({ stage: makeStage, outside, inside, said }: Place): Stage {
  const stage = makeStage();
  said.forEach(([side, text, wanted = text], turn) => {
    const [from, to] = side === "client" ? outside : [inside[1], inside[0]];
    const payload = Uint8Array.from(text, (one) => one.charCodeAt(0));
    const { verdict, bytes } = stage.send(udp({ from, to, payload }));
    expect(verdict, `turn ${turn}`).toBe(side === "client" ? "to-server" : "to-client");
    checkPacket(bytes, valid());
    expect(String.fromCharCode(...bytes.subarray((bytes[0]! >> 4 === 4 ? 20 : 40) + 8)), `turn ${turn}`).toBe(
      wanted,
    );
  });
  return stage;
}

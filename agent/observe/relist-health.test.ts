import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { RelistHealth } from "./relist-health.ts";

t.test("ML3: passes that fail for three minutes are a trouble, and one that ends well is none", async (t) => {
  const clock = new FakeClock();
  const health = new RelistHealth(clock);
  await clock.advance(600_000);
  t.equal(health.trouble, undefined, "nothing was asked for");
  health.begins();
  await clock.advance(100_000);
  health.begins(); // the first has failed
  await clock.advance(79_999);
  t.equal(health.trouble, undefined);
  await clock.advance(1);
  t.equal(health.trouble, "PLEG is not healthy: pleg was last seen active 3m0s ago; threshold is 3m0s");
  await clock.advance(5_000);
  t.match(health.trouble, /active 3m5s ago/);
  health.endsWell();
  t.equal(health.trouble, undefined);
});

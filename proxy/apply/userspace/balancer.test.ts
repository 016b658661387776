import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { testEndpoint } from "../../plan/test-ports.ts";
import { Balancer } from "./balancer.ts";

const endpoints = [testEndpoint("10.0.0.1", 80), testEndpoint("10.0.0.2", 80), testEndpoint("10.0.0.3", 80)];
const make = (affinity = 0) => {
  const clock = new FakeClock();
  const balancer = new Balancer(clock, () => 0.999);
  balancer.update(endpoints, affinity);
  return { clock, balancer, next: (client: string, again = false) => balancer.choose(client, again)?.ip };
};

t.test("connections go to each endpoint in turn", async (t) => {
  const { next } = make();
  t.same(
    ["a", "a", "a", "a"].map((client) => next(client)),
    ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"],
  );
});
t.test("with affinity a client comes back to its endpoint until it stayed away too long", async (t) => {
  const { next, clock } = make(60);
  const first = next("a");
  t.not(next("b"), first);
  t.equal(next("a"), first);
  await clock.advance(59_000);
  t.equal(next("a"), first, "each use starts the time anew");
  await clock.advance(60_000);
  t.not(next("a"), first);
});
t.test("a client whose endpoint cannot be reached is given another, and keeps that", async (t) => {
  const { next } = make(60);
  const first = next("a");
  const second = next("a", true);
  t.not(second, first);
  t.equal(next("a"), second);
});
t.test("a client whose endpoint left is given another", async (t) => {
  const { next, balancer } = make(60);
  const first = next("a");
  balancer.update(
    endpoints.filter(({ ip }) => ip !== first),
    60,
  );
  t.not(next("a"), first);
});
t.test("without endpoints there is none", async (t) => {
  const { next, balancer } = make();
  balancer.update([], 0);
  t.equal(next("a"), undefined);
});

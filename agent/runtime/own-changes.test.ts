import t from "tap";
import { OwnChanges } from "./own-changes.ts";

t.test("an event of a change of ours is explained once, and of a stranger's never", async (t) => {
  const own = new OwnChanges();
  own.expect("started", "a");
  t.equal(own.explains("ended", "a", true), false);
  t.equal(own.explains("started", "a", true), true);
  t.equal(own.explains("started", "a", true), false, "it starts again: that was not us");
  t.equal(own.explains("started", "b", true), false);
});

t.test("what appears without a name while we make something may be ours", async (t) => {
  const own = new OwnChanges();
  const made = Promise.withResolvers<string>();
  const making = own.making(() => made.promise);
  t.equal(own.explains("started", "new", false), true);
  t.equal(own.explains("started", "old", true), false);
  t.equal(own.explains("ended", "new", false), false, "it broke: somebody has to look");
  made.resolve("new");
  t.equal(await making, "new");
  t.equal(own.explains("started", "newer", false), false);
});

t.test("what goes and was never seen needs no look", async (t) => {
  t.equal(new OwnChanges().explains("removed", "x", false), true);
  t.equal(new OwnChanges().explains("removed", "x", true), false);
});

t.test("a failure does not leave it waiting for something that appears", async (t) => {
  const own = new OwnChanges();
  await t.rejects(
    own.making(async () => {
      throw new Error("no room");
    }),
    { message: "no room" },
  );
  t.equal(own.explains("started", "x", false), false);
});

t.test("only so many are remembered, the newest", async (t) => {
  const own = new OwnChanges();
  for (let i = 0; i < 5_000; i += 1) own.expect("removed", String(i));
  t.equal(own.explains("removed", "0", true), false);
  t.equal(own.explains("removed", "4999", true), true);
});

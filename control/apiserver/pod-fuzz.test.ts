/** Pods that nobody would write, given to the API: each is taken, or refused with the field that is wrong. */
import t from "tap";
import { fuzz, mutateValue } from "../../test/support/mutate.ts";
import { podSeeds } from "../../test/support/pod-seeds.ts";
import { testApi } from "./test-api.ts";

t.setTimeout(110_000);
const pods = "/api/v1/namespaces/default/pods";

t.test("no mutated Pod crashes the API, and every refusal names a field", async (t) => {
  await using node = await testApi();
  let taken = 0;
  const ran = await fuzz(10_000, 45_000, async (random) => {
    const text = JSON.stringify(mutateValue(random, random.pick(podSeeds)));
    const answer = await node.ask("POST", pods, text);
    if (answer.status !== 201) {
      if (!namesField(answer.status, answer.json)) throw new Error(`answered ${answer.text} to ${text}`);
      return;
    }
    taken += 1;
    const { metadata } = answer.json as { readonly metadata: { readonly name: string } };
    const gone = await node.ask("DELETE", `${pods}/${metadata.name}`, { gracePeriodSeconds: 0 });
    if (gone.status !== 200) throw new Error(`cannot delete what was taken: ${gone.text}`);
  });
  t.ok(ran > 1_000 && taken > ran / 20, `${taken} of ${ran} were taken`);
});

/** 422 lists its fields; 400 names one in its sentence. Anything else is no refusal of a Pod. */
function namesField(status: number, body: Readonly<Record<string, unknown>>): boolean {
  const { details, message } = body as {
    readonly details?: { readonly causes?: readonly { readonly field?: string }[] };
    readonly message?: string;
  };
  if (status === 422)
    return (
      (details?.causes ?? []).length > 0 && (details?.causes ?? []).every(({ field = "" }) => field !== "")
    );
  return (
    status === 400 &&
    /Go struct field \S+|API version in the data|must be of type Pod|namespace|metadata|quantities|parsing time|max depth/.test(
      message ?? "",
    )
  );
}

import t from "tap";
import { noBundles, selectBundles, trustAnchors } from "./trust-anchors.ts";

const pem = (text: string): string => {
  const body = Buffer.from(text).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${body.match(/.{1,64}/g)?.join("\n")}\n-----END CERTIFICATE-----\n`;
};

t.test("VO9: trust bundles become one text, each certificate once, in one order", async (t) => {
  const [a, b, c] = [pem("a".repeat(100)), pem("b"), pem("c")];
  const text = trustAnchors([`# words\n${b}${a}`, `${a}\n\n${c}`]);
  t.equal(text, trustAnchors([c, a, b]));
  t.equal(text.match(/BEGIN/g)?.length, 3);
  for (const one of [a, b, c]) t.ok(text.includes(one));
  t.notMatch(text, /words/);
  t.equal(trustAnchors([]), "");
  t.equal(trustAnchors([pem("b").replaceAll("\n", "\r\n")]), b, "other line ends");
});

t.test("VO9: a projection selects the bundles of its signer by labels", async (t) => {
  const bundles = [
    { metadata: { name: "one", labels: { kind: "live" } } },
    { metadata: { name: "two", labels: { kind: "test" } } },
    { metadata: { name: "three" } },
  ];
  const names = (labelSelector?: object): readonly (string | undefined)[] =>
    selectBundles({ path: "x", ...(labelSelector === undefined ? {} : { labelSelector }) }, bundles).map(
      ({ metadata }) => metadata?.name,
    );
  t.same(names(), []);
  t.same(names({}), ["one", "two", "three"]);
  t.same(names({ matchLabels: { kind: "live" } }), ["one"]);
  t.equal(noBundles({ path: "x", name: "n" }), 'clustertrustbundle.certificates.k8s.io "n" not found');
  t.match(noBundles({ path: "x" }), /matched zero ClusterTrustBundles/);
});

import t from "tap";
import { parseKubeconfig } from "./kubeconfig.ts";

const base = `
current-context: here
contexts: [{ name: here, context: { cluster: c, user: u } }]
clusters: [{ name: c, cluster: { server: "https://1.2.3.4:6443", certificate-authority: pki/ca.crt } }]
`;
const files = new Map([
  ["/etc/x/pki/ca.crt", "CA"],
  ["/etc/x/token", "secret\n"],
]);
const read = (file: string): string => {
  const text = files.get(file);
  if (text === undefined) throw new Error(`no file ${file}`);
  return text;
};
const parse = (users: string) =>
  parseKubeconfig(`${base}users: [{ name: u, user: ${users} }]`, "/etc/x", read);

t.test("files are relative to the kubeconfig, data is inline", async (t) => {
  t.match(parse(`{ client-certificate-data: ${btoa("CERT")}, client-key-data: ${btoa("KEY")} }`), {
    server: "https://1.2.3.4:6443",
    ca: "CA",
    clientCertificate: "CERT",
    clientKey: "KEY",
  });
});
t.test("a token file is read anew for each request", async (t) => {
  const { token } = parse("{ tokenFile: token }");
  t.equal(token?.(), "secret");
  files.set("/etc/x/token", "rotated\n");
  t.equal(token?.(), "rotated");
});
t.test("what is missing or not supported is named", async (t) => {
  t.throws(() => parse("{ exec: { command: aws } }"), /user\.exec is not supported/);
  t.throws(() => parseKubeconfig("current-context: gone", "/", read), /contexts has no entry named "gone"/);
  t.throws(() => parseKubeconfig("a: [", "/", read));
});
